#include "thread_name.h"

#include <sys/prctl.h>

namespace primed {

void nameThread(const std::string& name) { prctl(PR_SET_NAME, name.c_str(), 0, 0, 0); }

}  // namespace primed
