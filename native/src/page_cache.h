// Verified pages of files in the memory of one memfd, shared by all threads of the process.
//
//   frame i = bytes [2i MiB, 2i MiB + length) of the memfd: two neighbouring pages of one file
//   slot    = half a frame, one page
//
//   of a frame:   free --take()--> in use --evict: a hole is punched--> free
//   of a slot:    absent --take()--> loading --settle(ok)--> ready
//                    ^------------------- settle(failed)
//
// A page is filled by its loader, checked, and never written again. `sendfile` hands its memory to sockets without a
// copy; what the kernel has not sent yet keeps that memory. So a frame is emptied by punching a hole: what comes next gets
// other memory, and what is under way stays as it was. A hole within a huge page would zero it in place; so a frame is as
// large and aligned as one, and the hole is always the whole frame.
//
// Frames whose two pages are whole are made of one huge page (MADV_COLLAPSE, which heeds no setting of the system): 512
// page faults cost ten times as much as clearing it, and sendfile a third of what it costs page by page.
//
// A pin keeps a frame where it is. Pins are short: nobody waits for a socket with one.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace primed {

constexpr uint32_t cachePageBytes = 1u << 20;
constexpr uint32_t frameBytes = 2 * cachePageBytes;

struct PageKey {
  uint64_t file;
  uint32_t page;
  bool operator==(const PageKey& other) const { return file == other.file && page == other.page; }
};

struct PageKeyHash {
  size_t operator()(const PageKey& key) const {
    uint64_t x = key.file * 0x9e3779b97f4a7c15ull + key.page;
    x ^= x >> 32;
    return static_cast<size_t>(x * 0xd6e8feb86659fd93ull);
  }
};

// Whoever waits for a page that somebody loads. Called on the loader's threads.
class PageWaiter {
 public:
  virtual ~PageWaiter() = default;
  // `status` 0: the slot is pinned for this waiter. Else nothing is.
  virtual void pageSettled(uint64_t token, uint32_t slot, int status) = 0;
};

class PageCache {
 public:
  enum class Taken {
    ready,    // pinned
    waiting,  // somebody loads it: the waiter is told
    mine,     // the caller loads it, and the waiter is told, too
    full,     // everything is pinned or being loaded
  };

  explicit PageCache(uint64_t capacityBytes) : capacityBytes_(capacityBytes) {}
  ~PageCache();
  PageCache(const PageCache&) = delete;

  // 0 or a positive errno.
  int open();

  // Without a waiter nothing is pinned, and `ready` and `waiting` mean that there is nothing to do.
  // `pairBytes`: what the file has in the frame of the page.
  Taken take(const PageKey& key, uint32_t pairBytes, PageWaiter* waiter, uint64_t token, uint32_t* slot);
  // Pins a page that is ready.
  bool find(const PageKey& key, uint32_t* slot);
  void release(uint32_t slot);
  // The loader's last word; status 0: the page is whole and checked.
  void settle(uint32_t slot, int status);
  // Of a waiter that goes away: it is not called any more when this returns.
  void forget(PageWaiter* waiter);

  uint8_t* address(uint32_t slot) const { return base_ + uint64_t(slot) * cachePageBytes; }
  uint64_t offset(uint32_t slot) const { return uint64_t(slot) * cachePageBytes; }
  int fd() const { return fd_; }
  uint64_t capacityBytes() const { return capacityBytes_; }
  uint64_t usedBytes();

  // Under way at all senders of this cache.
  std::atomic<uint32_t> jobs{0};

 private:
  enum class State : uint8_t { absent, loading, ready };
  struct Waiting {
    PageWaiter* waiter;
    uint64_t token;
  };
  struct Half {
    State state = State::absent;
    std::vector<Waiting> waiting;
  };
  struct Frame {
    PageKey key{};  // its page: that of the frame, half of a page's
    uint32_t bytes = 0;
    uint32_t pins = 0;
    bool inUse = false;
    bool recent = false;
    Half halves[2];
  };

  static PageKey frameKey(const PageKey& key) { return {key.file, key.page / 2}; }
  Half& half(uint32_t slot) { return frames_[slot / 2].halves[slot % 2]; }
  bool chooseVictims(uint64_t neededBytes, std::vector<uint32_t>* victims);
  void makeHuge(uint32_t frame);
  void empty(uint32_t frame, uint32_t bytes);

  const uint64_t capacityBytes_;
  int fd_ = -1;
  uint8_t* base_ = nullptr;
  void* reserved_ = nullptr;
  uint64_t reservedBytes_ = 0;
  std::mutex mutex_;
  // Held while waiters are told, so that `forget` can wait for that.
  std::mutex telling_;
  std::vector<Frame> frames_;
  std::vector<uint32_t> free_;
  std::unordered_map<PageKey, uint32_t, PageKeyHash> index_;
  uint64_t usedBytes_ = 0;
  uint32_t hand_ = 0;
  // No frame from here on was ever taken.
  uint32_t reached_ = 0;
};

}  // namespace primed
