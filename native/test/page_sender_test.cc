// The sender, and what is sent without it: with real sockets and a real file.
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <string>
#include <thread>

#include "sending.h"

using namespace primed;

namespace {

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

// A head goes before the pages: with a short body at once, and whatever the socket leaves of it by the sender's thread.
void testHeads() {
  Sending its;
  uint32_t slot;
  CHECK(its.cache.take({1, 0}, frameBytes, nullptr, 0, &slot) == PageCache::Taken::mine);
  memcpy(its.cache.address(slot), its.file.bytes.data(), cachePageBytes);
  its.cache.settle(slot, 0);
  for (const uint64_t length : {uint64_t(100), uint64_t(200'000)}) {
    Pair pair;
    const std::string head = "HTTP/1.1 200 OK\r\n\r\n";
    const int64_t taken = trySend(its.cache, {1, pair.server, its.file.pages(), 77, length, head}, length);
    CHECK(taken == static_cast<int64_t>(head.size() + length));
    const auto got = readFrom(pair.client, static_cast<size_t>(taken));
    CHECK(memcmp(got.data(), head.data(), head.size()) == 0);
    CHECK(memcmp(got.data() + head.size(), its.file.bytes.data() + 77, length) == 0);
  }
  // More than the socket takes.
  Pair pair;
  shrinkBuffer(pair.server);
  const std::string head(16u << 20, 'h');
  const int64_t taken = trySend(its.cache, its.whole(1, pair.server, head), its.file.size());
  CHECK(taken > 0 && taken < static_cast<int64_t>(head.size()));
  CHECK(its.sender.start(its.whole(1, pair.server, head.substr(static_cast<size_t>(taken)))) == 0);
  CHECK(readFrom(pair.client, head.size()) == std::vector<uint8_t>(head.begin(), head.end()));
  CHECK(its.isWhole(readFrom(pair.client, its.file.size())));
  const auto end = its.ends.take(1);
  CHECK(end.first == SendOutcome::sent && end.second == its.file.size());
}

void testSends(bool uring, bool copied) {
  // A third of what is read by all at once.
  Sending its(2 * frameBytes, {3, 4, limitMs}, uring);
  if (!its.opened) return;  // no io_uring here
  const auto& file = its.file;
  constexpr int readers = 8;
  constexpr uint32_t skip = 12'345;
  Pair pairs[readers];
  std::vector<std::thread> threads;
  for (int i = 0; i < readers; i++) {
    CHECK(its.sender.start({uint64_t(i), pairs[i].server, file.pages(), skip, file.size() - skip, "", copied}) == 0);
    threads.emplace_back([&, i] {
      const auto got = readFrom(pairs[i].client, file.size() - skip);
      CHECK(got.size() == file.size() - skip);
      CHECK(memcmp(got.data(), file.bytes.data() + skip, got.size()) == 0);
    });
  }
  for (auto& thread : threads) thread.join();
  for (int i = 0; i < readers; i++) {
    const auto end = its.ends.take(static_cast<uint64_t>(i));
    CHECK(end.first == SendOutcome::sent && end.second == file.size() - skip);
  }
}

void testBadPage() {
  Sending its;
  Pair pair;
  auto pages = its.file.pages();
  pages[3].checksum ^= 1;
  CHECK(its.sender.start({1, pair.server, pages, 0, its.file.size()}) == 0);
  const auto got = readFrom(pair.client, 3 * cachePageBytes);
  CHECK(got.size() == 3 * cachePageBytes && its.isBeginning(got));
  const auto end = its.ends.take(1);
  CHECK(end.first == SendOutcome::badPage && end.second == 3 * cachePageBytes);
  // The file is cut: what is behind its end cannot be read.
  CHECK(ftruncate(its.file.fd, cachePageBytes) == 0);
  pages = its.file.pages();
  for (auto& page : pages) page.key.file = 2;
  CHECK(its.sender.start({2, -1, {pages.begin() + 4, pages.end()}, 0, 1}) == 0);
  CHECK(its.ends.take(2).first == SendOutcome::diskError);
  CHECK(its.sender.start({3, -1, {pages.begin(), pages.begin() + 1}, 0, 1}) == 0);
  CHECK(its.ends.take(3).first == SendOutcome::sent);
}

// Clients that take nothing hold neither pages nor the others; they are cut when it has lasted too long.
void testStalled() {
  Sending its(frameBytes, {2, 2, 1500});
  constexpr int stalled = 6;
  Pair pairs[stalled];
  for (int i = 0; i < stalled; i++) {
    shrinkBuffer(pairs[i].server);
    CHECK(its.sender.start(its.whole(uint64_t(10 + i), pairs[i].server)) == 0);
  }
  Pair lively;
  CHECK(its.sender.start(its.whole(1, lively.server)) == 0);
  CHECK(its.isWhole(readFrom(lively.client, its.file.size())));
  CHECK(its.ends.take(1).first == SendOutcome::sent);
  its.sender.cancel(10);
  CHECK(its.ends.take(10).first == SendOutcome::cancelled);
  close(pairs[1].client);
  CHECK(its.ends.take(11).first == SendOutcome::gone);
  pairs[1].client = -1;
  for (int i = 2; i < stalled; i++) CHECK(its.ends.take(static_cast<uint64_t>(10 + i)).first == SendOutcome::stalled);
  CHECK(its.sender.start(its.whole(2, pairs[2].server)) == 0);
  // Closing ends what is under way.
  CHECK(its.sender.close(limitMs));
  CHECK(its.ends.take(2).first == SendOutcome::cancelled);
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
  for (const uint32_t pairBytes : {cachePageBytes, frameBytes}) testInFlight(pairBytes);
  for (const bool copied : {true, false}) testCopied(copied);
  for (const bool uring : {true, false}) testSends(uring, !uring);
  testWithoutHugePages();
  testHeads();
  testBadPage();
  testStalled();
}
