// Tests of src/ without Node, for AddressSanitizer. `--overflow` reads one byte too many through src/: a run that is
// not aborted proves that the sanitizer is off.
#include <cstring>
#include <memory>

#include "../src/crc.h"
#include "check.h"

static void overflow() {
  constexpr size_t size = 64;
  const auto bytes = std::make_unique<uint8_t[]>(size);
  memset(bytes.get(), 1, size);
  printf("crc of one byte too many: %x\n", primed::crc32c(0, bytes.get(), size + 1));
}

int main(int count, char** arguments) {
  if (count > 1 && strcmp(arguments[1], "--overflow") == 0) {
    overflow();
    return 0;
  }
  testCrc();
  testFiles();
  testSdNotify();
  testDiskQueue();
  testPageCache();
  testPageSender();
  testConnections();
  printf("native tests passed\n");
  return 0;
}
