// The name of a thread, as `top -H`, `perf` and debuggers show it.
#pragma once
#include <string>

namespace primed {

// Of the calling thread; the kernel keeps 15 bytes of it.
void nameThread(const std::string& name);

}  // namespace primed
