// Readiness and watchdog messages to the service manager, sd_notify(3), without libsystemd.
#pragma once
#include <string>

namespace primed {

// One datagram with `state` (lines of NAME=value) to the AF_UNIX socket at `path`; a leading '@' means the abstract
// name space. Returns 0, or a positive errno.
int notifyServiceManager(const std::string& path, const std::string& state);

}  // namespace primed
