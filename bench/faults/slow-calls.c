/*
 * Preloaded into a daemon, makes some of its system calls slow: as slow as a file that it shares with whoever started it
 * says, from now on. The file holds, as uint32, microseconds for each kind of call, then how often each was made slow.
 *
 *   0 write   pwrite of a store file     sleeps before it
 *   1 flush   fdatasync of a store file  sleeps before it
 *   2 commit  fdatasync of the index     sleeps before it
 *   3 receive read of a lane's socket    holds its thread after it, as one that does not get a core
 *   4 checksum                           of slow-checksums.cjs
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum kind { slow_write, slow_flush, slow_commit, slow_receive, slow_checksum, kinds };

static struct {
  volatile uint32_t microseconds[kinds];
  volatile uint32_t hits[kinds];
} *control;

__attribute__((constructor)) static void start(void) {
  const char *path = getenv("SLOW_CALLS");
  const int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void *shared = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (shared != MAP_FAILED) control = shared;
  close(fd);
}

static int names(int fd, const char *end) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, path, sizeof(path) - 1);
  const size_t wanted = strlen(end);
  return length >= (ssize_t)wanted && memcmp(path + length - wanted, end, wanted) == 0;
}

static uint32_t delay_of(enum kind kind) {
  const uint32_t microseconds = control == NULL ? 0 : control->microseconds[kind];
  if (microseconds > 0) __atomic_add_fetch(&control->hits[kind], 1, __ATOMIC_RELAXED);
  return microseconds;
}

ssize_t pwrite64(int fd, const void *data, size_t count, off64_t offset) {
  static ssize_t (*real)(int, const void *, size_t, off64_t);
  if (real == NULL) real = dlsym(RTLD_NEXT, "pwrite64");
  if (control != NULL && control->microseconds[slow_write] > 0 && names(fd, "/store.dat")) usleep(delay_of(slow_write));
  return real(fd, data, count, offset);
}

int fdatasync(int fd) {
  static int (*real)(int);
  if (real == NULL) real = dlsym(RTLD_NEXT, "fdatasync");
  if (control != NULL && control->microseconds[slow_flush] > 0 && names(fd, "/store.dat")) usleep(delay_of(slow_flush));
  if (control != NULL && control->microseconds[slow_commit] > 0 && names(fd, "/index/data.mdb"))
    usleep(delay_of(slow_commit));
  return real(fd);
}

ssize_t read(int fd, void *data, size_t count) {
  static ssize_t (*real)(int, void *, size_t);
  if (real == NULL) real = dlsym(RTLD_NEXT, "read");
  const ssize_t got = real(fd, data, count);
  if (got > 0 && control != NULL && control->microseconds[slow_receive] > 0) {
    char thread[16] = "";
    struct stat info;
    prctl(PR_GET_NAME, thread);
    if (memcmp(thread, "lane-", 5) == 0 && fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode))
      usleep(delay_of(slow_receive));
  }
  return got;
}
