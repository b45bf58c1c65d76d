#include "../src/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "../src/slots.h"
#include "check.h"

using namespace primed;

namespace {

// Bytes of the file's shared mappings that lie in memory.
size_t residentOf(const std::string& path) {
  std::ifstream maps("/proc/self/smaps");
  std::string line;
  bool counted = false;
  size_t kibibytes = 0;
  while (std::getline(maps, line)) {
    std::istringstream words(line);
    std::string first, second;
    words >> first >> second;
    if (first.find('-') != std::string::npos) {
      counted = second[3] == 's' && line.size() > path.size() && line.substr(line.size() - path.size()) == path;
    } else if (counted && first == "Rss:") {
      kibibytes += std::stoul(second);
    }
  }
  return kibibytes * 1024;
}

}  // namespace

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

  // A shared mapping leaves memory and says the same afterwards; a private one keeps what was written to it.
  const size_t pages = 64, bytes = pages * 4096;
  auto* shared = static_cast<uint8_t*>(mmap(nullptr, bytes, PROT_READ, MAP_SHARED, other, 0));
  auto* own = static_cast<uint8_t*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, other, 0));
  CHECK(shared != MAP_FAILED && own != MAP_FAILED);
  own[5000] = 7;
  for (size_t at = 0; at < bytes; at += 4096) CHECK(shared[at] == 0);
  CHECK(residentOf(path) == pages * 4096);
  CHECK(releaseMapped(path) == 0);
  CHECK(residentOf(path) == 0);
  CHECK(own[5000] == 7 && shared[5000] == 0);
  CHECK(releaseMapped("/nothing/of/this/name") == 0);
  munmap(shared, bytes);
  munmap(own, bytes);
  close(other);
  unlink(path);

  std::vector<uint8_t> memory(100'000, 0x5A);
  prefault(memory.data(), memory.size());
  prefault(memory.data(), 10);
  for (const uint8_t byte : memory) CHECK(byte == 0x5A);
}
