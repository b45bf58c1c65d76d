#include "cached_send.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace primed {
namespace {

// Below this a copy costs less than what sendfile does for each page of the kernel.
constexpr uint32_t copyBytes = 16 * 1024;

}  // namespace

int64_t sendSome(PageCache& cache, int socket, uint32_t slot, uint32_t from, uint32_t length, bool copied) {
  for (;;) {
    ssize_t sent;
    if (copied || length <= copyBytes) {
      sent = send(socket, cache.address(slot) + from, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    } else {
      off_t offset = static_cast<off_t>(cache.offset(slot) + from);
      sent = sendfile(socket, cache.fd(), &offset, length);
    }
    if (sent >= 0) return sent;
    if (errno == EINTR) continue;
    return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -int64_t(errno);
  }
}

int64_t sendBytes(int socket, const std::string& head, const uint8_t* body, size_t bodyBytes, bool more) {
  iovec parts[2] = {{const_cast<char*>(head.data()), head.size()}, {const_cast<uint8_t*>(body), bodyBytes}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = bodyBytes > 0 ? 2 : 1;
  for (;;) {
    const ssize_t sent = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0));
    if (sent >= 0) return sent;
    if (errno == EINTR) continue;
    return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -int64_t(errno);
  }
}

bool owes(int socket) {
  int bytes = 0;
  return ioctl(socket, SIOCOUTQ, &bytes) == 0 && bytes > 0;
}

int64_t trySend(PageCache& cache, const SendOrder& order, uint64_t mostBytes) {
  const auto& [token, socket, pages, skipBytes, lengthBytes, head, copied] = order;
  if (!head.empty()) {
    uint32_t slot;
    const bool ready = cache.find(pages[0].key, &slot);
    // What is short goes with its head.
    const bool whole = ready && lengthBytes <= std::min<uint64_t>(copyBytes, pages[0].lengthBytes - skipBytes);
    const uint8_t* body = whole ? cache.address(slot) + skipBytes : nullptr;
    const int64_t sent = sendBytes(socket, head, body, whole ? lengthBytes : 0, ready && !whole);
    if (ready) cache.release(slot);
    if (whole || sent < static_cast<int64_t>(head.size())) return sent;
  }
  uint64_t done = 0;
  uint32_t from = skipBytes;
  for (const StoredPage& page : pages) {
    uint32_t slot;
    const uint64_t left = std::min(lengthBytes, mostBytes) - done;
    if (left == 0 || !cache.find(page.key, &slot)) break;
    const auto wanted = static_cast<uint32_t>(std::min<uint64_t>(left, page.lengthBytes - from));
    const int64_t sent = sendSome(cache, socket, slot, from, wanted, copied);
    cache.release(slot);
    if (sent < 0) return sent;
    done += static_cast<uint64_t>(sent);
    if (sent < wanted) break;
    from = 0;
  }
  return static_cast<int64_t>(head.size() + done);
}

bool tryCopy(PageCache& cache, const std::vector<StoredPage>& pages, uint32_t skipBytes, uint64_t lengthBytes,
             uint8_t* target) {
  uint64_t done = 0;
  uint32_t from = skipBytes;
  for (const StoredPage& page : pages) {
    uint32_t slot;
    if (!cache.find(page.key, &slot)) return false;
    const auto wanted = static_cast<uint32_t>(std::min<uint64_t>(lengthBytes - done, page.lengthBytes - from));
    memcpy(target + done, cache.address(slot) + from, wanted);
    cache.release(slot);
    done += wanted;
    from = 0;
  }
  return done == lengthBytes;
}

}  // namespace primed
