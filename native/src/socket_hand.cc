#include "socket_hand.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace primed {

int nameOf(int socket, SocketName* name) {
  socklen_t length = sizeof name->cookie;
  name->number = socket;
  return getsockopt(socket, SOL_SOCKET, SO_COOKIE, &name->cookie, &length) == 0 ? 0 : errno;
}

SocketHand::~SocketHand() {
  if (own_ >= 0) close(own_);
}

int SocketHand::open(int nothing) {
  nothing_ = nothing;
  // Kept for good: at the limit of descriptors an answer that was begun still goes on.
  own_ = fcntl(nothing, F_DUPFD_CLOEXEC, 0);
  return own_ >= 0 ? 0 : errno;
}

int SocketHand::take(const SocketName& name) {
  if (holds_) return own_;
  if (dup3(name.number, own_, O_CLOEXEC) < 0) return -1;
  holds_ = true;
  SocketName now;
  if (nameOf(own_, &now) == 0 && now.cookie == name.cookie) return own_;
  put();
  return -1;
}

void SocketHand::put() {
  if (!holds_) return;
  dup3(nothing_, own_, O_CLOEXEC);
  holds_ = false;
}

}  // namespace primed
