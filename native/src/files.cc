#include "files.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>

namespace primed {

int allocateBlocks(int fd, uint64_t length) {
  for (;;) {
    if (fallocate(fd, 0, 0, static_cast<off_t>(length)) == 0) return 0;
    if (errno != EINTR) return errno;
  }
}

int supportsDirect(int fd, bool* direct) {
  struct statfs fs;
  if (fstatfs(fd, &fs) != 0) return errno;
  *direct = fs.f_type != TMPFS_MAGIC && fs.f_type != RAMFS_MAGIC;
#ifdef STATX_DIOALIGN
  struct statx file;
  if (*direct && statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &file) == 0 && (file.stx_mask & STATX_DIOALIGN) != 0) {
    // 0: not supported on this file. More than a page: our transfers are not aligned enough.
    *direct = file.stx_dio_mem_align != 0 && file.stx_dio_mem_align <= 4096 && file.stx_dio_offset_align <= 4096;
  }
#endif
  return 0;
}

int lockExclusive(int fd) { return flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno; }

}  // namespace primed
