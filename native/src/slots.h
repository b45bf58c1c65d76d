// Memory that data lands in.
#pragma once
#include <cstddef>
#include <cstdint>

namespace primed {

// Asks for huge pages and makes every page present, so that no first touch happens on the data path. The contents
// stay as they are. Advice only: without it the same memory works, slower.
void prefault(uint8_t* address, size_t length);

}  // namespace primed
