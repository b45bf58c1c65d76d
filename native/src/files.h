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

// Takes the pages of every shared mapping of this file out of the memory of the process. They stay in the page cache
// and come back when they are touched: what is mapped means the same before and after. `path` is absolute and without
// links. The caller sees to it that no thread unmaps the file meanwhile.
int releaseMapped(const char* path);

}  // namespace primed
