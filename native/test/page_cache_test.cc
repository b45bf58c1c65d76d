// The page cache by itself: which page goes for another, and who hears of one that is read.
#include "sending.h"

using namespace primed;

namespace {

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

}  // namespace

void testPageCache() {
  testClock();
  testWaiters();
}
