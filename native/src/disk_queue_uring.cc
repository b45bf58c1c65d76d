// The io_uring engine, on the raw system calls: one ring a queue, one io_uring_enter a submit().
//
//   owner thread --SQEs--> [submission ring] --> kernel --> [completion ring] --CQEs--> reaper thread --> sink
//                               ^                                                            |
//                               +------- the rest of a short transfer, tried again ----------+
//
// Both threads fill the submission ring, under one lock that is free nearly always. The reaper sleeps in the kernel
// (io_uring_enter, GETEVENTS) and is the only reader of the completion ring. `user_data` is the slot, or `wakeUp`
// for an entry that carries nothing. Layout and barriers: io_uring(7); the kernel's tail is read with acquire, our
// own head and tail are written with release.
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <vector>

#include "disk_queue.h"
#include "joinable_thread.h"

namespace primed {
namespace {

constexpr uint64_t wakeUp = ~uint64_t(0);
// RW_CUR_POS came with Linux 5.6, as did the plain READ and WRITE operations used here.
constexpr uint32_t neededFeatures = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_RW_CUR_POS;
// io_uring_enter that is refused for want of memory is tried for 100 ms before its operations fail.
constexpr int maxEnterRetries = 100;
constexpr timespec enterPause = {0, 1'000'000};

int enter(int ring, uint32_t toSubmit, uint32_t minComplete, uint32_t flags) {
  const long done = syscall(__NR_io_uring_enter, ring, toSubmit, minComplete, flags, nullptr, 0);
  return done < 0 ? -errno : static_cast<int>(done);
}

class UringEngine final : public DiskEngine {
 public:
  UringEngine(uint32_t depth, DiskSink& sink) : depth_(depth), sink_(sink), progress_(depth), active_(depth) {}

  ~UringEngine() override {
    if (sqes_ != nullptr) munmap(sqes_, sqesBytes_);
    if (rings_ != nullptr) munmap(rings_, ringsBytes_);
    if (ring_ >= 0) close(ring_);
  }

  int start() {
    io_uring_params params;
    memset(&params, 0, sizeof params);
    // Room for every operation with its cancellation and a wake-up: the completion ring cannot overflow.
    params.flags = IORING_SETUP_CQSIZE;
    params.cq_entries = 4 * depth_ + 8;
    ring_ = static_cast<int>(syscall(__NR_io_uring_setup, depth_ + 1, &params));
    if (ring_ < 0) return errno;
    if ((params.features & neededFeatures) != neededFeatures) return ENOSYS;
    const int error = map(params);
    if (error != 0) return error;
    return reaper_.start([](void* self) { static_cast<UringEngine*>(self)->reap(); }, this);
  }

  void submit(const uint32_t* slots, const DiskOp* ops, size_t count) override {
    inFlight_.fetch_add(static_cast<uint32_t>(count), std::memory_order_relaxed);
    std::unique_lock<std::mutex> lock(submission_);
    for (size_t i = 0; i < count; i++) {
      progress_[slots[i]] = DiskProgress{ops[i]};
      active_[slots[i]] = true;
      pushTransfer(slots[i]);
    }
    flush(lock);
  }

  void stop() override {
    stopping_.store(true, std::memory_order_release);
    std::unique_lock<std::mutex> lock(submission_);
    // The reaper may sleep with nothing in flight: without this entry it would sleep for ever.
    for (int tries = 0; tries < maxEnterRetries; tries++) {
      push(IORING_OP_NOP, wakeUp);
      if (flush(lock)) return;
    }
  }

  void cancelAndStop() override {
    std::unique_lock<std::mutex> lock(submission_);
    cancelling_ = true;
    for (uint32_t slot = 0; slot < depth_; slot++) {
      if (active_[slot]) push(IORING_OP_ASYNC_CANCEL, wakeUp)->addr = slot;
    }
    flush(lock);
    lock.unlock();
    stop();
  }

  bool join(int limitMs) override { return reaper_.join(limitMs); }

 private:
  int map(const io_uring_params& params) {
    const size_t sqBytes = params.sq_off.array + params.sq_entries * sizeof(uint32_t);
    const size_t cqBytes = params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe);
    ringsBytes_ = sqBytes > cqBytes ? sqBytes : cqBytes;
    sqesBytes_ = params.sq_entries * sizeof(io_uring_sqe);
    void* rings = mmap(nullptr, ringsBytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring_, IORING_OFF_SQ_RING);
    if (rings == MAP_FAILED) return errno;
    rings_ = static_cast<uint8_t*>(rings);
    void* sqes = mmap(nullptr, sqesBytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring_, IORING_OFF_SQES);
    if (sqes == MAP_FAILED) return errno;
    sqes_ = static_cast<io_uring_sqe*>(sqes);

    const auto word = [this](uint32_t offset) { return reinterpret_cast<uint32_t*>(rings_ + offset); };
    sqHead_ = word(params.sq_off.head);
    sqTail_ = word(params.sq_off.tail);
    sqEntries_ = params.sq_entries;
    cqHead_ = word(params.cq_off.head);
    cqTail_ = word(params.cq_off.tail);
    cqMask_ = params.cq_entries - 1;
    cqes_ = reinterpret_cast<io_uring_cqe*>(rings_ + params.cq_off.cqes);
    uint32_t* array = word(params.sq_off.array);
    for (uint32_t i = 0; i < sqEntries_; i++) array[i] = i;
    return 0;
  }

  // The three below: under the submission lock.
  io_uring_sqe* push(uint8_t opcode, uint64_t userData) {
    if (tail_ - __atomic_load_n(sqHead_, __ATOMIC_ACQUIRE) == sqEntries_) enterAll();
    io_uring_sqe* sqe = &sqes_[tail_++ & (sqEntries_ - 1)];
    memset(sqe, 0, sizeof *sqe);
    sqe->opcode = opcode;
    sqe->user_data = userData;
    return sqe;
  }

  void pushTransfer(uint32_t slot) {
    const DiskProgress& progress = progress_[slot];
    io_uring_sqe* sqe = push(progress.op.kind == DiskOpKind::read ? IORING_OP_READ : IORING_OP_WRITE, slot);
    sqe->fd = progress.op.fd;
    sqe->addr = reinterpret_cast<uint64_t>(progress.address());
    sqe->len = progress.remaining();
    sqe->off = progress.fileOffset();
  }

  // Hands all that was pushed to the kernel. False: some of it was refused for good; it was taken out of the ring,
  // and the operations among it are in `refused_`.
  bool enterAll() {
    __atomic_store_n(sqTail_, tail_, __ATOMIC_RELEASE);
    int retries = 0;
    for (;;) {
      // Without a polling kernel thread the head moves inside io_uring_enter only.
      const uint32_t head = __atomic_load_n(sqHead_, __ATOMIC_ACQUIRE);
      if (head == tail_) return true;
      const int done = enter(ring_, tail_ - head, 0, 0);
      if (done > 0 || done == -EINTR) continue;
      if ((done == 0 || done == -EAGAIN || done == -EBUSY) && retries++ < maxEnterRetries) {
        nanosleep(&enterPause, nullptr);
        continue;
      }
      for (uint32_t i = head; i != tail_; i++) {
        const uint64_t userData = sqes_[i & (sqEntries_ - 1)].user_data;
        if (userData != wakeUp) refused_.push_back({static_cast<uint32_t>(userData), done == 0 ? -EAGAIN : done});
      }
      tail_ = head;
      __atomic_store_n(sqTail_, tail_, __ATOMIC_RELEASE);
      return false;
    }
  }

  // Enters the kernel, then lets go of the lock to deliver what was refused.
  bool flush(std::unique_lock<std::mutex>& lock) {
    const bool entered = enterAll();
    if (refused_.empty()) return entered;
    std::vector<DiskCompletion> refused;
    refused.swap(refused_);
    for (const auto& completion : refused) active_[completion.slot] = false;
    lock.unlock();
    sink_.deliver(refused.data(), refused.size());
    inFlight_.fetch_sub(static_cast<uint32_t>(refused.size()), std::memory_order_release);
    lock.lock();
    return entered;
  }

  void reap() {
    std::vector<DiskCompletion> finished;
    finished.reserve(depth_);
    for (;;) {
      collect(finished);
      if (!finished.empty()) {
        sink_.deliver(finished.data(), finished.size());
        // After the delivery, so that ended() comes last.
        inFlight_.fetch_sub(static_cast<uint32_t>(finished.size()), std::memory_order_release);
        finished.clear();
        continue;
      }
      // The owner stores `stopping_` after its last submit: a count of 0 read after it stays 0.
      if (stopping_.load(std::memory_order_acquire) && inFlight_.load(std::memory_order_acquire) == 0) break;
      const int done = enter(ring_, 0, 1, IORING_ENTER_GETEVENTS);
      if (done < 0 && done != -EINTR) nanosleep(&enterPause, nullptr);
    }
    sink_.ended();
  }

  void collect(std::vector<DiskCompletion>& finished) {
    uint32_t head = *cqHead_;  // ours alone
    const uint32_t tail = __atomic_load_n(cqTail_, __ATOMIC_ACQUIRE);
    if (head == tail) return;
    std::unique_lock<std::mutex> lock(submission_);
    bool again = false;
    for (; head != tail; head++) {
      const io_uring_cqe& cqe = cqes_[head & cqMask_];
      if (cqe.user_data == wakeUp) continue;
      const auto slot = static_cast<uint32_t>(cqe.user_data);
      int32_t finalResult = 0;
      DiskProgress::Next next = progress_[slot].advance(cqe.res, &finalResult);
      if (next == DiskProgress::Next::again && cancelling_) {
        next = DiskProgress::Next::finished;
        finalResult = -ECANCELED;
      }
      if (next == DiskProgress::Next::again) {
        pushTransfer(slot);
        again = true;
        continue;
      }
      active_[slot] = false;
      finished.push_back({slot, finalResult});
    }
    __atomic_store_n(cqHead_, head, __ATOMIC_RELEASE);
    if (again) flush(lock);
  }

  const uint32_t depth_;
  DiskSink& sink_;
  std::vector<DiskProgress> progress_;
  std::vector<bool> active_;
  std::vector<DiskCompletion> refused_;
  std::mutex submission_;
  bool cancelling_ = false;
  std::atomic<bool> stopping_{false};
  std::atomic<uint32_t> inFlight_{0};

  int ring_ = -1;
  uint8_t* rings_ = nullptr;
  size_t ringsBytes_ = 0;
  io_uring_sqe* sqes_ = nullptr;
  size_t sqesBytes_ = 0;
  uint32_t* sqHead_ = nullptr;
  uint32_t* sqTail_ = nullptr;
  uint32_t sqEntries_ = 0;
  uint32_t tail_ = 0;
  uint32_t* cqHead_ = nullptr;
  uint32_t* cqTail_ = nullptr;
  uint32_t cqMask_ = 0;
  io_uring_cqe* cqes_ = nullptr;
  JoinableThread reaper_;
};

}  // namespace

std::unique_ptr<DiskEngine> makeUringEngine(uint32_t depth, DiskSink& sink, int* error) {
  auto engine = std::make_unique<UringEngine>(depth, sink);
  *error = engine->start();
  if (*error != 0) return nullptr;
  return engine;
}

}  // namespace primed
