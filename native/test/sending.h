// What tests of the sender share: a connection, a file whose pages are known, and a sender with its cache.
#pragma once
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "../src/crc.h"
#include "../src/listen.h"
#include "../src/page_sender.h"
#include "check.h"
#include "temporary_file.h"

namespace primed {

constexpr int limitMs = 20'000;

class Waiter final : public PageWaiter {
 public:
  void pageSettled(uint64_t, uint32_t slot, int status) override {
    settled++;
    lastSlot = slot;
    lastStatus = status;
  }
  int settled = 0;
  uint32_t lastSlot = 0;
  int lastStatus = -1;
};

struct Pair {
  int server, client;
  Pair() {
    const int listener = listenOn("127.0.0.1", 0, false, 16);
    CHECK(listener >= 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(portOf(listener)));
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    client = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    const timeval limit = {limitMs / 1000, 0};
    CHECK(setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    while ((server = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK)) < 0) CHECK(errno == EAGAIN);
    close(listener);
  }
  ~Pair() {
    close(server);
    close(client);
  }
};

// Little of what is sent fits into it, so that a sender waits for its client.
inline void shrinkBuffer(int socket) {
  const int few = 65'536;
  CHECK(setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &few, sizeof few) == 0);
}

inline std::vector<uint8_t> readFrom(int fd, size_t bytes) {
  std::vector<uint8_t> data(bytes);
  size_t at = 0;
  while (at < bytes) {
    const ssize_t got = recv(fd, data.data() + at, bytes - at, 0);
    if (got <= 0) break;
    at += static_cast<size_t>(got);
  }
  data.resize(at);
  return data;
}

// Fills a page as its loader would.
inline uint32_t fill(PageCache& cache, uint64_t file, uint8_t pattern, uint32_t pairBytes = cachePageBytes) {
  uint32_t slot;
  CHECK(cache.take({file, 0}, pairBytes, nullptr, 0, &slot) == PageCache::Taken::mine);
  memset(cache.address(slot), pattern, cachePageBytes);
  cache.settle(slot, 0);
  return slot;
}

class Ends final : public SenderSink {
 public:
  void done(uint64_t token, SendOutcome outcome, uint64_t sentBytes) override {
    std::lock_guard<std::mutex> lock(mutex_);
    CHECK(ends_.emplace(token, std::make_pair(outcome, sentBytes)).second);
    changed_.notify_all();
  }
  std::pair<SendOutcome, uint64_t> take(uint64_t token) {
    std::unique_lock<std::mutex> lock(mutex_);
    CHECK(changed_.wait_for(lock, std::chrono::milliseconds(limitMs), [&] { return ends_.count(token) > 0; }));
    return ends_[token];
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint64_t, std::pair<SendOutcome, uint64_t>> ends_;
};

// Some pages, the last one short, each in two pieces that lie apart.
struct StoredFile {
  static constexpr uint32_t pageCount = 9;
  static constexpr uint32_t lastBytes = 5000;
  std::vector<uint8_t> bytes;
  int fd;

  StoredFile() : bytes(size_t(pageCount) * cachePageBytes) {
    uint32_t state = 1;
    for (auto& byte : bytes) byte = static_cast<uint8_t>((state = state * 1664525 + 1013904223) >> 24);
    fd = temporaryFile();
    CHECK(pwrite(fd, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  }
  ~StoredFile() { close(fd); }
  uint64_t size() const { return uint64_t(pageCount - 1) * cachePageBytes + lastBytes; }
  std::vector<StoredPage> pages() const {
    std::vector<StoredPage> all;
    for (uint32_t page = 0; page < pageCount; page++) {
      const uint32_t length = page + 1 == pageCount ? lastBytes : cachePageBytes;
      const uint32_t held = page + 1 == pageCount ? 8192 : cachePageBytes;
      const uint64_t at = uint64_t(page) * cachePageBytes;
      const auto pair = static_cast<uint32_t>(std::min<uint64_t>(frameBytes, size() - uint64_t(page / 2) * frameBytes));
      all.push_back({{1, page}, length, pair, crc32c(0, bytes.data() + at, length), {{fd, at, 4096}, {fd, at + 4096, held - 4096}}});
    }
    return all;
  }
};

// A sender with its cache, for a file that is not in it.
struct Sending {
  const StoredFile file;
  PageCache cache;
  Ends ends;
  PageSender sender;
  // False: there is no io_uring here.
  bool opened;

  explicit Sending(uint64_t cacheBytes = 16 * cachePageBytes, SenderLimits limits = {4, 2, limitMs}, bool uring = false)
      : cache(cacheBytes), sender(cache, ends, limits) {
    CHECK(cache.open() == 0);
    opened = sender.open(uring) == 0;
    CHECK(opened || uring);
  }
  ~Sending() { CHECK(sender.close(limitMs)); }

  // An order for all of the file.
  SendOrder whole(uint64_t token, int socket, std::string head = {}) const {
    return {token, socket, file.pages(), 0, file.size(), std::move(head)};
  }
  bool isWhole(const std::vector<uint8_t>& bytes) const { return bytes.size() == file.size() && isBeginning(bytes); }
  bool isBeginning(const std::vector<uint8_t>& bytes) const {
    return memcmp(bytes.data(), file.bytes.data(), bytes.size()) == 0;
  }
};

}  // namespace primed
