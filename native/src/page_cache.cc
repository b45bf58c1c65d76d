#include "page_cache.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25  // Linux 6.1
#endif

namespace primed {
namespace {

constexpr uint32_t kernelPageBytes = 4096;
// Small files fill a sliver of their frame, so that there are more frames than the capacity has whole ones.
constexpr uint64_t framesForEach = 16;
constexpr uint64_t mostFrames = 1u << 23;

uint32_t held(uint32_t lengthBytes) { return (lengthBytes + kernelPageBytes - 1) & ~(kernelPageBytes - 1); }

}  // namespace

PageCache::~PageCache() {
  if (reserved_ != nullptr) munmap(reserved_, reservedBytes_);
  if (fd_ >= 0) close(fd_);
}

int PageCache::open() {
  const uint64_t whole = std::max<uint64_t>(capacityBytes_ / frameBytes, 1);
  const uint64_t count = std::min(whole * framesForEach, mostFrames);
  const uint64_t bytes = count * frameBytes;
  fd_ = memfd_create("primed-pages", MFD_CLOEXEC);
  if (fd_ < 0) return errno;
  if (ftruncate(fd_, static_cast<off_t>(bytes)) != 0) return errno;
  // One frame more, for the alignment.
  void* reserved = mmap(nullptr, bytes + frameBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return errno;
  reserved_ = reserved;
  reservedBytes_ = bytes + frameBytes;
  const uintptr_t aligned = (reinterpret_cast<uintptr_t>(reserved) + frameBytes - 1) & ~uintptr_t(frameBytes - 1);
  void* base = mmap(reinterpret_cast<void*>(aligned), bytes, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd_, 0);
  if (base == MAP_FAILED) return errno;
  base_ = static_cast<uint8_t*>(base);
  // Copies of this memory in a child would be copies of pages that are punched here.
  if (madvise(base, bytes, MADV_DONTFORK) != 0) return errno;
  frames_.resize(count);
  free_.reserve(count);
  for (uint64_t frame = count; frame-- > 0;) free_.push_back(static_cast<uint32_t>(frame));
  return 0;
}

PageCache::Taken PageCache::take(const PageKey& key, uint32_t pairBytes, PageWaiter* waiter, uint64_t token,
                                 uint32_t* slot) {
  const uint64_t needed = held(pairBytes);
  std::vector<uint32_t> victims, bytes;
  for (;;) {
    std::unique_lock<std::mutex> lock(mutex_);
    const auto found = index_.find(frameKey(key));
    if (found != index_.end()) {
      Frame& frame = frames_[found->second];
      *slot = found->second * 2 + key.page % 2;
      frame.recent = true;
      Half& taken = half(*slot);
      if (taken.state == State::ready) {
        if (waiter != nullptr) frame.pins++;
        return Taken::ready;
      }
      if (waiter != nullptr) taken.waiting.push_back({waiter, token});
      if (taken.state == State::loading) return Taken::waiting;
      taken.state = State::loading;
      return Taken::mine;
    }
    if (usedBytes_ + needed <= capacityBytes_ && !free_.empty()) {
      const uint32_t at = free_.back();
      free_.pop_back();
      reached_ = std::max(reached_, at + 1);
      *slot = at * 2 + key.page % 2;
      Frame& frame = frames_[at];
      frame.key = frameKey(key);
      frame.bytes = static_cast<uint32_t>(needed);
      frame.inUse = true;
      frame.recent = true;
      Half& taken = half(*slot);
      taken.state = State::loading;
      if (waiter != nullptr) taken.waiting.push_back({waiter, token});
      usedBytes_ += needed;
      index_.emplace(frame.key, at);
      lock.unlock();
      if (needed == frameBytes) makeHuge(at);
      return Taken::mine;
    }
    victims.clear();
    bytes.clear();
    if (!chooseVictims(needed, &victims)) return Taken::full;
    // Holes are punched outside of the lock; until then the victims are in nobody's hands.
    for (const uint32_t victim : victims) bytes.push_back(frames_[victim].bytes);
    lock.unlock();
    for (size_t i = 0; i < victims.size(); i++) empty(victims[i], bytes[i]);
  }
}

bool PageCache::find(const PageKey& key, uint32_t* slot) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = index_.find(frameKey(key));
  if (found == index_.end()) return false;
  *slot = found->second * 2 + key.page % 2;
  if (half(*slot).state != State::ready) return false;
  frames_[found->second].pins++;
  frames_[found->second].recent = true;
  return true;
}

void PageCache::release(uint32_t slot) {
  std::lock_guard<std::mutex> lock(mutex_);
  frames_[slot / 2].pins--;
}

void PageCache::settle(uint32_t slot, int status) {
  std::lock_guard<std::mutex> telling(telling_);
  std::vector<Waiting> waiting;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    Half& settled = half(slot);
    waiting.swap(settled.waiting);
    // What is absent again was never sent, so that its memory can be filled once more.
    settled.state = status == 0 ? State::ready : State::absent;
    if (status == 0) frames_[slot / 2].pins += static_cast<uint32_t>(waiting.size());
  }
  for (const auto& one : waiting) one.waiter->pageSettled(one.token, slot, status);
}

void PageCache::forget(PageWaiter* waiter) {
  std::lock_guard<std::mutex> telling(telling_);
  std::lock_guard<std::mutex> lock(mutex_);
  for (Frame& frame : frames_) {
    for (Half& one : frame.halves) {
      const auto isOf = [&](const Waiting& waiting) { return waiting.waiter == waiter; };
      one.waiting.erase(std::remove_if(one.waiting.begin(), one.waiting.end(), isOf), one.waiting.end());
    }
  }
}

uint64_t PageCache::usedBytes() {
  std::lock_guard<std::mutex> lock(mutex_);
  return usedBytes_;
}

// The clock: one that was used since the hand came by last gets another turn. Takes the chosen out of the index, under the
// lock; false, and none: two turns found nothing.
bool PageCache::chooseVictims(uint64_t neededBytes, std::vector<uint32_t>* victims) {
  uint64_t freed = 0;
  const uint64_t count = reached_;
  for (uint64_t looked = 0; looked < 2 * count; looked++) {
    const bool roomy = usedBytes_ - freed + neededBytes <= capacityBytes_;
    if (roomy && (!free_.empty() || !victims->empty())) break;
    const uint32_t at = hand_;
    Frame& frame = frames_[at];
    hand_ = hand_ + 1 >= count ? 0 : hand_ + 1;
    const bool loading = frame.halves[0].state == State::loading || frame.halves[1].state == State::loading;
    if (!frame.inUse || loading || frame.pins > 0) continue;
    if (frame.recent) {
      frame.recent = false;
      continue;
    }
    index_.erase(frame.key);
    frame.inUse = false;
    for (Half& one : frame.halves) one.state = State::absent;
    freed += frame.bytes;
    victims->push_back(at);
  }
  return !victims->empty();
}

// Without one the frame is made of small pages as it is filled: that is slower, and nothing else. The other half may be
// filled already meanwhile: the kernel leaves alone what it cannot move.
void PageCache::makeHuge(uint32_t frame) {
  uint8_t* start = address(frame * 2);
  // Nothing at all is not collapsed. A read, because the other half may be the first to be filled.
  *reinterpret_cast<volatile uint8_t*>(start);
  madvise(start, frameBytes, MADV_COLLAPSE);
}

void PageCache::empty(uint32_t frame, uint32_t bytes) {
  const auto start = static_cast<off_t>(offset(frame * 2));
  while (fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, start, frameBytes) != 0) {
    // The memory is still there, and may be on its way to a client: the frame is given up.
    if (errno != EINTR) return;
  }
  std::lock_guard<std::mutex> lock(mutex_);
  frames_[frame].bytes = 0;
  frames_[frame].recent = false;
  usedBytes_ -= bytes;
  free_.push_back(frame);
}

}  // namespace primed
