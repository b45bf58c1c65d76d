// A file of a test, without a name.
#pragma once
#include <unistd.h>

#include <cstdlib>

#include "check.h"

inline int temporaryFile() {
  char path[] = "/tmp/primed-native-test-XXXXXX";
  const int fd = mkstemp(path);
  CHECK(fd >= 0 && unlink(path) == 0);
  return fd;
}
