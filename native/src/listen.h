// A listening TCP socket that several threads may have one each of, on one port.
#pragma once
#include <cstdint>

namespace primed {

// What the other end may leave untaken in the kernel of one connection, unless that is told otherwise.
constexpr uint64_t mostUnsentBytes = 1u << 20;

// `address` is numeric, IPv4 or IPv6. `shared`: others that are shared may listen there, too (SO_REUSEPORT), and the
// kernel spreads connections over them. A descriptor, or -errno.
int listenOn(const char* address, uint16_t port, bool shared, int backlog);
// The port of a socket, or -errno.
int portOf(int fd);

}  // namespace primed
