// Verified pages of files in the memory of one memfd, shared by all threads of the process.
//
//   slot i  = bytes [i MiB, i MiB + length) of the memfd; the rest of it is a hole and costs nothing
//
//   free --take()--> loading --settle(ok)--> ready --evict--> free
//                       \----settle(failed)---------------------/
//
// A page is filled by its loader, checked, and never written again. `sendfile` hands its memory to sockets without a
// copy; what the kernel has not sent yet keeps that memory. So a slot is emptied by punching a hole: the next page gets
// other memory, and what is under way stays as it was. That holds for whole pages of the kernel only, so the mapping,
// by which alone memory gets in, is kept from huge pages.
//
// A pin keeps a ready page where it is. Pins are short: nobody waits for a socket with one.
#pragma once
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace primed {

constexpr uint32_t cachePageBytes = 1u << 20;

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
  Taken take(const PageKey& key, uint32_t lengthBytes, PageWaiter* waiter, uint64_t token, uint32_t* slot);
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

 private:
  enum class State : uint8_t { free, loading, ready };
  struct Waiting {
    PageWaiter* waiter;
    uint64_t token;
  };
  struct Slot {
    PageKey key{};
    uint32_t bytes = 0;
    uint32_t pins = 0;
    State state = State::free;
    bool recent = false;
    std::vector<Waiting> waiting;
  };

  bool chooseVictims(uint64_t neededBytes, std::vector<uint32_t>* victims);
  void empty(uint32_t slot, uint32_t bytes);

  const uint64_t capacityBytes_;
  int fd_ = -1;
  uint8_t* base_ = nullptr;
  std::mutex mutex_;
  // Held while waiters are told, so that `forget` can wait for that.
  std::mutex telling_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  std::unordered_map<PageKey, uint32_t, PageKeyHash> index_;
  uint64_t usedBytes_ = 0;
  uint32_t hand_ = 0;
  // No slot from here on was ever taken.
  uint32_t reached_ = 0;
};

}  // namespace primed
