// What Node's fs cannot do with a file. All return 0, or a positive errno.
#pragma once
#include <cstdint>

namespace primed {

// Blocks for [0, length) that exist on the disk, zeroed; the file becomes at least that long.
int allocateBlocks(int fd, uint64_t length);

// Whether direct transfers at 4 KiB alignment really bypass the page cache on this file. tmpfs takes O_DIRECT since
// Linux 6.6 and then ignores it.
int supportsDirect(int fd, bool* direct);

// An exclusive advisory lock on the open file; EWOULDBLOCK when somebody has one. It goes with the last descriptor.
int lockExclusive(int fd);

}  // namespace primed
