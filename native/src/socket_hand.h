// Sockets whose descriptors belong to somebody else, in the hand of one thread.
//
// A connection has one descriptor. Its owner (libuv, on another thread) closes it whenever it likes, and its number may be the
// next connection's, or a file's, before anybody here hears of it. So of a connection that is waited for only its name is kept,
// the number and the cookie, which the kernel gives to one socket alone, and the number itself is never used:
//
//   take   dup3(number -> own)    whatever has the number now has a second descriptor, and stays what it is
//          SO_COOKIE of own       another one: nothing is written, the connection is gone
//          send, sendfile, epoll_ctl by own
//   put    dup3(nothing -> own)   whoever closed the connection meanwhile has it closed now
//
// epoll knows an entry by the open file and the number together, and forgets it with the file. As `own` is always the same
// number, a connection has one entry in a set, nobody else's is taken for it, and none is left behind.
#pragma once
#include <cstdint>

namespace primed {

struct SocketName {
  int number = -1;
  uint64_t cookie = 0;
};

// On the thread that may close it. 0 or a positive errno.
int nameOf(int socket, SocketName* name);

// Of one thread.
class SocketHand {
 public:
  SocketHand() = default;
  SocketHand(const SocketHand&) = delete;
  SocketHand& operator=(const SocketHand&) = delete;
  ~SocketHand();
  // `nothing`: any descriptor, which outlives this. 0 or a positive errno.
  int open(int nothing);
  // The descriptor to use until `put`; -1: the connection is closed. Of one connection at a time.
  int take(const SocketName& name);
  void put();

 private:
  int nothing_ = -1;
  int own_ = -1;
  bool holds_ = false;
};

}  // namespace primed
