#include "../src/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "../src/slots.h"
#include "check.h"

using namespace primed;

void testFiles() {
  char path[] = "/tmp/primed-native-test-XXXXXX";
  const int fd = mkstemp(path);
  CHECK(fd >= 0);
  CHECK(allocateBlocks(fd, 1 << 20) == 0);
  struct stat status;
  CHECK(fstat(fd, &status) == 0 && status.st_size == 1 << 20 && status.st_blocks * 512 >= 1 << 20);
  CHECK(allocateBlocks(-1, 1) == EBADF);

  CHECK(lockExclusive(fd) == 0);
  const int other = open(path, O_RDONLY);
  CHECK(lockExclusive(other) == EWOULDBLOCK);
  close(fd);
  CHECK(lockExclusive(other) == 0);
  bool direct = true;
  CHECK(supportsDirect(other, &direct) == 0);
  CHECK(supportsDirect(-1, &direct) == EBADF);
  close(other);
  unlink(path);

  std::vector<uint8_t> memory(100'000, 0x5A);
  prefault(memory.data(), memory.size());
  prefault(memory.data(), 10);
  for (const uint8_t byte : memory) CHECK(byte == 0x5A);
}
