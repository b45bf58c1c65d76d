#include "files.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

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

int releaseMapped(const char* path) {
  FILE* maps = fopen("/proc/self/maps", "re");
  if (maps == nullptr) return errno;
  char* line = nullptr;
  size_t room = 0;
  int error = 0;
  // 7f2c00000000-7f2c40000000 r--s 00000000 08:01 2490421    /data/index/data.mdb
  while (error == 0 && getline(&line, &room, maps) > 0) {
    unsigned long start, end;
    char sharing;
    int nameAt = 0;
    if (sscanf(line, "%lx-%lx %*3c%c %*s %*s %*s %n", &start, &end, &sharing, &nameAt) != 3 || nameAt == 0) continue;
    line[strcspn(line, "\n")] = '\0';
    // In a private mapping this would throw away what was written to it.
    if (sharing != 's' || strcmp(line + nameAt, path) != 0) continue;
    if (madvise(reinterpret_cast<void*>(start), end - start, MADV_DONTNEED) != 0) error = errno;
  }
  free(line);
  fclose(maps);
  return error;
}

}  // namespace primed
