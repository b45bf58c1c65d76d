#include "../src/sd_notify.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "check.h"

using namespace primed;

static void receives(const std::string& name) {
  sockaddr_un address;
  memset(&address, 0, sizeof address);
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, name.data(), name.size());
  if (name[0] == '@') address.sun_path[0] = '\0';
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  CHECK(bind(fd, reinterpret_cast<sockaddr*>(&address), length) == 0);
  CHECK(notifyServiceManager(name, "READY=1\nSTATUS=here") == 0);
  char text[64];
  CHECK(recv(fd, text, sizeof text, 0) == 19 && memcmp(text, "READY=1\nSTATUS=here", 19) == 0);
  close(fd);
}

void testSdNotify() {
  const std::string unique = std::to_string(getpid());
  receives("@primed-native-test-" + unique);
  const std::string path = "/tmp/primed-native-test-" + unique + ".sock";
  receives(path);
  unlink(path.c_str());
  CHECK(notifyServiceManager(path, "READY=1") == ENOENT);
  CHECK(notifyServiceManager("relative", "READY=1") == EINVAL);
  CHECK(notifyServiceManager("", "READY=1") == EINVAL);
  CHECK(notifyServiceManager("/" + std::string(200, 'x'), "READY=1") == ENAMETOOLONG);
}
