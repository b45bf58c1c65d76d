#include "page_cache.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace primed {
namespace {

constexpr uint32_t kernelPageBytes = 4096;
// Pages of small files fill a sliver of their slot, so that there are more slots than the capacity has whole pages.
constexpr uint64_t slotsForEachPage = 16;
constexpr uint64_t mostSlots = 1u << 24;

uint32_t held(uint32_t lengthBytes) { return (lengthBytes + kernelPageBytes - 1) & ~(kernelPageBytes - 1); }

}  // namespace

PageCache::~PageCache() {
  if (base_ != nullptr) munmap(base_, slots_.size() * uint64_t(cachePageBytes));
  if (fd_ >= 0) close(fd_);
}

int PageCache::open() {
  const uint64_t pages = std::max<uint64_t>(capacityBytes_ / cachePageBytes, 1);
  const uint64_t count = std::min(pages * slotsForEachPage, mostSlots);
  const uint64_t bytes = count * cachePageBytes;
  fd_ = memfd_create("primed-pages", MFD_CLOEXEC);
  if (fd_ < 0) return errno;
  if (ftruncate(fd_, static_cast<off_t>(bytes)) != 0) return errno;
  void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd_, 0);
  if (base == MAP_FAILED) return errno;
  slots_.resize(count);
  base_ = static_cast<uint8_t*>(base);
  // A hole within a huge page would zero memory that a socket still sends. EINVAL: the kernel knows no huge pages.
  if (madvise(base, bytes, MADV_NOHUGEPAGE) != 0 && errno != EINVAL) return errno;
  // Copies of this memory in a child would be copies of pages that are punched here.
  if (madvise(base, bytes, MADV_DONTFORK) != 0) return errno;
  free_.reserve(count);
  for (uint64_t slot = count; slot-- > 0;) free_.push_back(static_cast<uint32_t>(slot));
  return 0;
}

PageCache::Taken PageCache::take(const PageKey& key, uint32_t lengthBytes, PageWaiter* waiter, uint64_t token,
                                 uint32_t* slot) {
  const uint64_t needed = held(lengthBytes);
  std::vector<uint32_t> victims;
  for (;;) {
    std::unique_lock<std::mutex> lock(mutex_);
    const auto found = index_.find(key);
    if (found != index_.end()) {
      Slot& taken = slots_[found->second];
      *slot = found->second;
      taken.recent = true;
      if (taken.state == State::ready) {
        if (waiter != nullptr) taken.pins++;
        return Taken::ready;
      }
      if (waiter != nullptr) taken.waiting.push_back({waiter, token});
      return Taken::waiting;
    }
    if (usedBytes_ + needed <= capacityBytes_ && !free_.empty()) {
      *slot = free_.back();
      free_.pop_back();
      reached_ = std::max(reached_, *slot + 1);
      Slot& taken = slots_[*slot];
      taken.key = key;
      taken.bytes = static_cast<uint32_t>(needed);
      taken.state = State::loading;
      taken.recent = true;
      usedBytes_ += needed;
      if (waiter != nullptr) taken.waiting.push_back({waiter, token});
      index_.emplace(key, *slot);
      return Taken::mine;
    }
    victims.clear();
    if (!chooseVictims(needed, &victims)) return Taken::full;
    // Holes are punched outside of the lock; until then the victims are in nobody's hands.
    std::vector<uint32_t> bytes;
    for (const uint32_t victim : victims) bytes.push_back(slots_[victim].bytes);
    lock.unlock();
    for (size_t i = 0; i < victims.size(); i++) empty(victims[i], bytes[i]);
  }
}

bool PageCache::find(const PageKey& key, uint32_t* slot) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = index_.find(key);
  if (found == index_.end() || slots_[found->second].state != State::ready) return false;
  *slot = found->second;
  slots_[*slot].pins++;
  slots_[*slot].recent = true;
  return true;
}

void PageCache::release(uint32_t slot) {
  std::lock_guard<std::mutex> lock(mutex_);
  slots_[slot].pins--;
}

void PageCache::settle(uint32_t slot, int status) {
  std::lock_guard<std::mutex> telling(telling_);
  std::vector<Waiting> waiting;
  uint32_t bytes = 0;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    Slot& settled = slots_[slot];
    waiting.swap(settled.waiting);
    if (status == 0) {
      settled.state = State::ready;
      settled.pins = static_cast<uint32_t>(waiting.size());
    } else {
      index_.erase(settled.key);
      bytes = settled.bytes;
    }
  }
  if (status != 0) empty(slot, bytes);
  for (const auto& one : waiting) one.waiter->pageSettled(one.token, slot, status);
}

void PageCache::forget(PageWaiter* waiter) {
  std::lock_guard<std::mutex> telling(telling_);
  std::lock_guard<std::mutex> lock(mutex_);
  for (Slot& slot : slots_) {
    auto& waiting = slot.waiting;
    waiting.erase(std::remove_if(waiting.begin(), waiting.end(), [&](const Waiting& one) { return one.waiter == waiter; }),
                  waiting.end());
  }
}

uint64_t PageCache::usedBytes() {
  std::lock_guard<std::mutex> lock(mutex_);
  return usedBytes_;
}

// The clock: one that was used since the hand came by last gets another turn. Takes the chosen out of the index, under the
// lock; false, and none: two turns found too little.
bool PageCache::chooseVictims(uint64_t neededBytes, std::vector<uint32_t>* victims) {
  uint64_t freed = 0;
  const uint64_t count = reached_;
  for (uint64_t looked = 0; looked < 2 * count; looked++) {
    const bool roomy = usedBytes_ - freed + neededBytes <= capacityBytes_;
    if (roomy && (!free_.empty() || !victims->empty())) break;
    Slot& slot = slots_[hand_];
    const uint32_t at = hand_;
    hand_ = hand_ + 1 >= count ? 0 : hand_ + 1;
    if (slot.state != State::ready || slot.pins > 0) continue;
    if (slot.recent) {
      slot.recent = false;
      continue;
    }
    index_.erase(slot.key);
    slot.state = State::loading;  // nobody's until it is empty
    freed += slot.bytes;
    victims->push_back(at);
  }
  return !victims->empty();
}

void PageCache::empty(uint32_t slot, uint32_t bytes) {
  while (fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset(slot)), bytes) != 0) {
    // The memory is still in the slot, and may be on its way to a client: the slot is given up.
    if (errno != EINTR) return;
  }
  std::lock_guard<std::mutex> lock(mutex_);
  Slot& emptied = slots_[slot];
  emptied.state = State::free;
  emptied.bytes = 0;
  emptied.recent = false;
  usedBytes_ -= bytes;
  free_.push_back(slot);
}

}  // namespace primed
