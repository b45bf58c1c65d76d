// The page cache and the sender, with real sockets and a real file.
#include "../src/page_sender.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <map>
#include <string>
#include <thread>

#include "../src/crc.h"
#include "../src/listen.h"
#include "check.h"

using namespace primed;

namespace {

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

std::vector<uint8_t> readFrom(int fd, size_t bytes) {
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
uint32_t fill(PageCache& cache, uint64_t file, uint8_t pattern, uint32_t pairBytes = cachePageBytes) {
  uint32_t slot;
  CHECK(cache.take({file, 0}, pairBytes, nullptr, 0, &slot) == PageCache::Taken::mine);
  memset(cache.address(slot), pattern, cachePageBytes);
  cache.settle(slot, 0);
  return slot;
}

void testClock() {
  PageCache cache(4 * cachePageBytes);
  CHECK(cache.open() == 0);
  for (uint64_t file = 1; file <= 4; file++) fill(cache, file, 1);
  uint32_t pinned[4];
  for (uint64_t file = 1; file <= 4; file++) CHECK(cache.find({file, 0}, &pinned[file - 1]));
  uint32_t slot;
  CHECK(cache.take({5, 0}, cachePageBytes, nullptr, 0, &slot) == PageCache::Taken::full);
  cache.release(pinned[1]);
  CHECK(cache.take({5, 0}, cachePageBytes, nullptr, 0, &slot) == PageCache::Taken::mine);
  CHECK(!cache.find({2, 0}, &slot));
  CHECK(cache.usedBytes() == 4 * cachePageBytes);
}

void testWaiters() {
  PageCache cache(2 * cachePageBytes);
  CHECK(cache.open() == 0);
  Waiter first, second, gone;
  uint32_t slot;
  CHECK(cache.take({1, 0}, 5000, &first, 7, &slot) == PageCache::Taken::mine);
  CHECK(cache.take({1, 0}, 5000, &second, 8, &slot) == PageCache::Taken::waiting);
  CHECK(cache.take({1, 0}, 5000, &gone, 9, &slot) == PageCache::Taken::waiting);
  CHECK(cache.usedBytes() == 8192);
  cache.forget(&gone);
  cache.settle(slot, 0);
  CHECK(first.settled == 1 && second.settled == 1 && gone.settled == 0);
  cache.release(slot);
  cache.release(slot);
  CHECK(cache.take({2, 0}, 5000, &first, 7, &slot) == PageCache::Taken::mine);
  cache.settle(slot, 3);
  CHECK(first.settled == 2 && first.lastStatus == 3);
  CHECK(!cache.find({2, 0}, &slot));
  // It can be tried again, in its place.
  CHECK(cache.take({2, 0}, 5000, nullptr, 0, &slot) == PageCache::Taken::mine);
  cache.settle(slot, 0);
  CHECK(cache.find({2, 0}, &slot));
}

// What the kernel has taken and not sent stays as it was, whatever becomes of its place in the cache.
void testInFlight(uint32_t pairBytes) {
  PageCache cache(2 * uint64_t(pairBytes));
  CHECK(cache.open() == 0);
  const uint32_t slot = fill(cache, 1, 0xaa, pairBytes);
  Pair pair;
  const std::vector<StoredPage> pages = {{{1, 0}, cachePageBytes, cachePageBytes, 0, {}}};
  const int64_t taken = trySend(cache, {1, pair.server, pages, 0, cachePageBytes}, cachePageBytes);
  CHECK(taken > 100'000);
  bool reused = false;
  for (uint64_t file = 2; file < 8; file++) reused = fill(cache, file, 0xbb, pairBytes) == slot || reused;
  CHECK(reused);
  uint32_t again;
  CHECK(!cache.find({1, 0}, &again));
  for (const uint8_t byte : readFrom(pair.client, static_cast<size_t>(taken))) CHECK(byte == 0xaa);
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

// A copy is all that the kernel has: what becomes of the page afterwards is not to be seen. Of what is lent it is, so that the
// page is filled anew here, which the cache never does.
void testCopied(bool copied) {
  PageCache cache(2 * frameBytes);
  CHECK(cache.open() == 0);
  const uint32_t slot = fill(cache, 1, 0xaa);
  Pair pair;
  const int64_t taken = trySend(cache, {1, pair.server, {{{1, 0}, cachePageBytes, cachePageBytes, 0, {}}}, 0, 300'000, "", copied}, 300'000);
  CHECK(taken > 200'000);
  CHECK(owes(pair.server));
  memset(cache.address(slot), 0xbb, cachePageBytes);
  const uint8_t seen = copied ? 0xaa : 0xbb;
  for (const uint8_t byte : readFrom(pair.client, static_cast<size_t>(taken))) CHECK(byte == seen);
  for (int tries = 0; owes(pair.server); tries++) {
    CHECK(tries < limitMs);
    usleep(1000);
  }
}

// Some pages, the last one short, each in two pieces that lie apart.
struct StoredFile {
  static constexpr uint32_t pageCount = 9;
  static constexpr uint32_t lastBytes = 5000;
  std::vector<uint8_t> bytes;
  int fd;

  StoredFile() : bytes(size_t(pageCount) * cachePageBytes) {
    uint32_t state = 1;
    for (auto& byte : bytes) byte = static_cast<uint8_t>((state = state * 1664525 + 1013904223) >> 24);
    char path[] = "/tmp/primed-sender-XXXXXX";
    fd = mkstemp(path);
    CHECK(fd >= 0);
    unlink(path);
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

// A head goes before the pages: with a short body at once, and whatever the socket leaves of it by the sender's thread.
void testHeads() {
  const StoredFile file;
  PageCache cache(16 * cachePageBytes);
  CHECK(cache.open() == 0);
  uint32_t slot;
  CHECK(cache.take({1, 0}, frameBytes, nullptr, 0, &slot) == PageCache::Taken::mine);
  memcpy(cache.address(slot), file.bytes.data(), cachePageBytes);
  cache.settle(slot, 0);
  const auto pages = file.pages();
  for (const uint64_t length : {uint64_t(100), uint64_t(200'000)}) {
    Pair pair;
    const std::string head = "HTTP/1.1 200 OK\r\n\r\n";
    const int64_t taken = trySend(cache, {1, pair.server, pages, 77, length, head}, length);
    CHECK(taken == static_cast<int64_t>(head.size() + length));
    const auto got = readFrom(pair.client, static_cast<size_t>(taken));
    CHECK(memcmp(got.data(), head.data(), head.size()) == 0);
    CHECK(memcmp(got.data() + head.size(), file.bytes.data() + 77, length) == 0);
  }
  // More than the socket takes.
  Ends ends;
  PageSender sender(cache, ends, {4, 2, limitMs});
  CHECK(sender.open(false) == 0);
  Pair pair;
  const int few = 65'536;
  setsockopt(pair.server, SOL_SOCKET, SO_SNDBUF, &few, sizeof few);
  std::string head(16u << 20, 'h');
  const int64_t taken = trySend(cache, {1, pair.server, pages, 0, file.size(), head}, file.size());
  CHECK(taken > 0 && taken < static_cast<int64_t>(head.size()));
  CHECK(sender.start({1, pair.server, pages, 0, file.size(), head.substr(static_cast<size_t>(taken))}) == 0);
  const auto got = readFrom(pair.client, head.size() + file.size());
  CHECK(got.size() == head.size() + file.size() && memcmp(got.data(), head.data(), head.size()) == 0);
  CHECK(memcmp(got.data() + head.size(), file.bytes.data(), file.size()) == 0);
  const auto end = ends.take(1);
  CHECK(end.first == SendOutcome::sent && end.second == file.size());
  CHECK(sender.close(limitMs));
}

void testSends(bool uring, bool copied) {
  const StoredFile file;
  // A third of what is read by all at once.
  PageCache cache(2 * frameBytes);
  CHECK(cache.open() == 0);
  Ends ends;
  PageSender sender(cache, ends, {3, 4, limitMs});
  if (sender.open(uring) != 0) return;  // no io_uring here
  constexpr int readers = 8;
  constexpr uint32_t skip = 12'345;
  Pair pairs[readers];
  std::vector<std::thread> threads;
  for (int i = 0; i < readers; i++) {
    CHECK(sender.start({uint64_t(i), pairs[i].server, file.pages(), skip, file.size() - skip, "", copied}) == 0);
    threads.emplace_back([&, i] {
      const auto got = readFrom(pairs[i].client, file.size() - skip);
      CHECK(got.size() == file.size() - skip);
      CHECK(memcmp(got.data(), file.bytes.data() + skip, got.size()) == 0);
    });
  }
  for (auto& thread : threads) thread.join();
  for (int i = 0; i < readers; i++) {
    const auto end = ends.take(static_cast<uint64_t>(i));
    CHECK(end.first == SendOutcome::sent && end.second == file.size() - skip);
  }
  CHECK(sender.close(limitMs));
}

void testBadPage() {
  const StoredFile file;
  PageCache cache(16 * cachePageBytes);
  CHECK(cache.open() == 0);
  Ends ends;
  PageSender sender(cache, ends, {4, 2, limitMs});
  CHECK(sender.open(false) == 0);
  Pair pair;
  auto pages = file.pages();
  pages[3].checksum ^= 1;
  CHECK(sender.start({1, pair.server, pages, 0, file.size()}) == 0);
  const auto got = readFrom(pair.client, 3 * cachePageBytes);
  CHECK(got.size() == 3 * cachePageBytes && memcmp(got.data(), file.bytes.data(), got.size()) == 0);
  const auto end = ends.take(1);
  CHECK(end.first == SendOutcome::badPage && end.second == 3 * cachePageBytes);
  // The file is cut: what is behind its end cannot be read.
  CHECK(ftruncate(file.fd, cachePageBytes) == 0);
  pages = file.pages();
  for (auto& page : pages) page.key.file = 2;
  CHECK(sender.start({2, -1, {pages.begin() + 4, pages.end()}, 0, 1}) == 0);
  CHECK(ends.take(2).first == SendOutcome::diskError);
  CHECK(sender.start({3, -1, {pages.begin(), pages.begin() + 1}, 0, 1}) == 0);
  CHECK(ends.take(3).first == SendOutcome::sent);
  CHECK(sender.close(limitMs));
}

// Clients that take nothing hold neither pages nor the others; they are cut when it has lasted too long.
void testStalled() {
  const StoredFile file;
  PageCache cache(frameBytes);
  CHECK(cache.open() == 0);
  Ends ends;
  PageSender sender(cache, ends, {2, 2, 1500});
  CHECK(sender.open(false) == 0);
  constexpr int stalled = 6;
  Pair pairs[stalled];
  for (int i = 0; i < stalled; i++) {
    const int few = 65'536;
    setsockopt(pairs[i].server, SOL_SOCKET, SO_SNDBUF, &few, sizeof few);
    CHECK(sender.start({uint64_t(10 + i), pairs[i].server, file.pages(), 0, file.size()}) == 0);
  }
  Pair lively;
  CHECK(sender.start({1, lively.server, file.pages(), 0, file.size()}) == 0);
  CHECK(readFrom(lively.client, file.size()).size() == file.size());
  CHECK(ends.take(1).first == SendOutcome::sent);
  sender.cancel(10);
  CHECK(ends.take(10).first == SendOutcome::cancelled);
  close(pairs[1].client);
  CHECK(ends.take(11).first == SendOutcome::gone);
  pairs[1].client = -1;
  for (int i = 2; i < stalled; i++) CHECK(ends.take(static_cast<uint64_t>(10 + i)).first == SendOutcome::stalled);
  CHECK(sender.start({2, pairs[2].server, file.pages(), 0, file.size()}) == 0);
  // Closing ends what is under way.
  CHECK(sender.close(limitMs));
  CHECK(ends.take(2).first == SendOutcome::cancelled);
}

int descriptorsOpen() {
  int open = 0;
  for (int fd = 0; fd < 4096; fd++) open += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return open;
}

// A job that has its head sent, and waits for its first page, which nobody has read yet.
struct WaitingJob {
  const StoredFile file;
  PageCache cache{16 * cachePageBytes};
  Ends ends;
  Waiter reader;
  PageSender sender{cache, ends, {4, 2, limitMs}};
  Pair pair;
  uint32_t slot = 0;

  WaitingJob() {
    CHECK(cache.open() == 0 && sender.open(false) == 0);
    CHECK(cache.take({1, 0}, frameBytes, &reader, 0, &slot) == PageCache::Taken::mine);
    CHECK(sender.start({1, pair.server, file.pages(), 0, file.size(), "head"}) == 0);
    CHECK(readFrom(pair.client, 4).size() == 4);
  }
  ~WaitingJob() { CHECK(sender.close(limitMs)); }
  // The page is there: the job, whose socket has room, sends it.
  void settle() {
    memcpy(cache.address(slot), file.bytes.data(), cachePageBytes);
    cache.settle(slot, 0);
  }
};

// The descriptor of a connection is closed by its owner, and another has its number at once: a connection, or a file, to which
// sendfile would write as well. Nothing of the answer gets there.
void testNumberOfAnother() {
  for (const bool isFile : {false, true}) {
    WaitingJob job;
    Pair other;
    const StoredFile untouched;
    const int number = job.pair.server;
    CHECK(dup2(isFile ? untouched.fd : other.server, number) == number);
    // It is closed: the sender holds nothing of it.
    CHECK(readFrom(job.pair.client, 1).empty());
    job.settle();
    const auto end = job.ends.take(1);
    CHECK(end.first == SendOutcome::gone && end.second == 0);
    if (isFile) {
      CHECK(lseek(number, 0, SEEK_CUR) == 0 && lseek(number, 0, SEEK_END) == static_cast<off_t>(untouched.bytes.size()));
      std::vector<uint8_t> bytes(untouched.bytes.size());
      CHECK(pread(number, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()) && bytes == untouched.bytes);
    } else {
      uint8_t byte;
      CHECK(recv(other.client, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
      // Its own answer is whole.
      CHECK(job.sender.start({2, number, job.file.pages(), 0, job.file.size()}) == 0);
      CHECK(readFrom(other.client, job.file.size()) == std::vector<uint8_t>(job.file.bytes.begin(), job.file.bytes.begin() + static_cast<ptrdiff_t>(job.file.size())));
      CHECK(job.ends.take(2).first == SendOutcome::sent);
    }
  }
}

// The same while the job waits for its socket: it is not woken for what has its number now, and both may wait at once.
void testNumberOfAnotherWaiting() {
  const StoredFile file;
  PageCache cache(16 * cachePageBytes);
  CHECK(cache.open() == 0);
  Ends ends;
  PageSender sender(cache, ends, {4, 2, limitMs});
  CHECK(sender.open(false) == 0);
  Pair pair, other;
  const int few = 65'536;
  for (const int fd : {pair.server, other.server}) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &few, sizeof few);
  const int number = pair.server;
  const auto waits = [&](int client) {
    int unread = 0;
    for (int before = -1; unread == 0 || unread != before; usleep(50'000)) {
      before = unread;
      CHECK(ioctl(client, FIONREAD, &unread) == 0);
    }
  };
  CHECK(sender.start({1, number, file.pages(), 0, file.size()}) == 0);
  waits(pair.client);
  CHECK(dup2(other.server, number) == number);
  CHECK(sender.start({2, number, file.pages(), 0, file.size()}) == 0);
  waits(other.client);
  // The end of the first is not the end of the second's waiting.
  sender.cancel(1);
  CHECK(ends.take(1).first != SendOutcome::sent);
  const auto got = readFrom(other.client, file.size());
  CHECK(got.size() == file.size() && memcmp(got.data(), file.bytes.data(), got.size()) == 0);
  CHECK(ends.take(2).first == SendOutcome::sent);
  // What the first one's client has got is a beginning, and then the connection was closed.
  const auto begun = readFrom(pair.client, file.size());
  CHECK(begun.size() < file.size() && memcmp(begun.data(), file.bytes.data(), begun.size()) == 0);
  CHECK(sender.close(limitMs));
}

// Reset by its client in the middle, and the next answers of a connection whose earlier ones had waited.
void testResetAndKept() {
  const StoredFile file;
  PageCache cache(16 * cachePageBytes);
  CHECK(cache.open() == 0);
  Ends ends;
  PageSender sender(cache, ends, {4, 2, limitMs});
  CHECK(sender.open(false) == 0);
  const int few = 65'536;
  {
    Pair pair;
    setsockopt(pair.server, SOL_SOCKET, SO_SNDBUF, &few, sizeof few);
    CHECK(sender.start({1, pair.server, file.pages(), 0, file.size()}) == 0);
    CHECK(readFrom(pair.client, 1000).size() == 1000);
    const linger now = {1, 0};
    setsockopt(pair.client, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(pair.client);
    pair.client = -1;
    const auto end = ends.take(1);
    CHECK(end.first == SendOutcome::gone && end.second < file.size());
  }
  Pair kept;
  setsockopt(kept.server, SOL_SOCKET, SO_SNDBUF, &few, sizeof few);
  for (uint64_t token = 2; token < 6; token++) {
    CHECK(sender.start({token, kept.server, file.pages(), 0, file.size()}) == 0);
    CHECK(readFrom(kept.client, file.size()).size() == file.size());
    CHECK(ends.take(token).first == SendOutcome::sent);
  }
  CHECK(sender.close(limitMs));
}

// A connection that is waited for has one descriptor; at the limit of descriptors answers that were begun go on.
void testDescriptors() {
  WaitingJob job;
  const int before = descriptorsOpen();
  Pair more[16];
  for (int i = 0; i < 16; i++) CHECK(job.sender.start({uint64_t(10 + i), more[i].server, job.file.pages(), 0, job.file.size(), "head"}) == 0);
  for (const Pair& one : more) CHECK(readFrom(one.client, 4).size() == 4);
  CHECK(descriptorsOpen() == before + 2 * 16);
  rlimit whole;
  CHECK(getrlimit(RLIMIT_NOFILE, &whole) == 0);
  std::vector<int> others;
  const rlimit few = {256, whole.rlim_max};
  CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
  for (int fd; (fd = dup(more[0].client)) >= 0;) others.push_back(fd);
  CHECK(errno == EMFILE);
  job.settle();
  CHECK(readFrom(job.pair.client, job.file.size()).size() == job.file.size());
  for (const Pair& one : more) CHECK(readFrom(one.client, job.file.size()).size() == job.file.size());
  for (const int fd : others) close(fd);
  CHECK(setrlimit(RLIMIT_NOFILE, &whole) == 0);
}

// Where the kernel gives no huge pages everything is as it was, of small ones.
void testWithoutHugePages() {
  CHECK(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0);
  {
    PageCache cache(2 * frameBytes);
    CHECK(cache.open() == 0);
    uint8_t* frame = cache.address(fill(cache, 1, 0xaa, frameBytes));
    constexpr int collapse = 25;  // MADV_COLLAPSE
    CHECK(madvise(frame, frameBytes, collapse) != 0);
  }
  testInFlight(frameBytes);
  testSends(true, false);
  CHECK(prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0) == 0);
}

}  // namespace

void testPageSender() {
  signal(SIGPIPE, SIG_IGN);  // as Node has it
  testClock();
  testWaiters();
  for (const uint32_t pairBytes : {cachePageBytes, frameBytes}) testInFlight(pairBytes);
  for (const bool copied : {true, false}) testCopied(copied);
  for (const bool uring : {true, false}) testSends(uring, !uring);
  testWithoutHugePages();
  testHeads();
  testBadPage();
  testStalled();
  testNumberOfAnother();
  testNumberOfAnotherWaiting();
  testResetAndKept();
  testDescriptors();
}
