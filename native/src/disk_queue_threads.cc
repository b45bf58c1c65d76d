// The engine for kernels and containers without io_uring: two threads doing pread and pwrite.
//
// Two, because with one the device idles between the end of one transfer and the start of the next.
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "disk_queue.h"
#include "joinable_thread.h"

namespace primed {

const FileCalls systemFileCalls = {::pread, ::pwrite};

namespace {

constexpr int threadCount = 2;

class ThreadsEngine final : public DiskEngine {
 public:
  ThreadsEngine(uint32_t depth, DiskSink& sink, const FileCalls& calls)
      : sink_(sink), calls_(calls), progress_(depth), queue_(depth) {}

  int start() {
    for (int i = 0; i < threadCount; i++) {
      running_++;
      const int error = threads_[i].start([](void* self) { static_cast<ThreadsEngine*>(self)->run(); }, this);
      if (error == 0) continue;
      running_--;
      // One thread is slower, not wrong.
      return i == 0 ? error : 0;
    }
    return 0;
  }

  void submit(const uint32_t* slots, const DiskOp* ops, size_t count) override {
    std::lock_guard<std::mutex> lock(mutex_);
    for (size_t i = 0; i < count; i++) {
      progress_[slots[i]] = DiskProgress{ops[i]};
      queue_[(head_ + waiting_++) % queue_.size()] = slots[i];
    }
    if (count == 1) work_.notify_one();
    else work_.notify_all();
  }

  void stop() override {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    work_.notify_all();
  }

  void cancelAndStop() override {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    cancelling_ = true;
    work_.notify_all();
  }

  bool join(int limitMs) override {
    for (auto& thread : threads_) {
      if (!thread.join(limitMs)) return false;
    }
    return true;
  }

 private:
  void run() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      work_.wait(lock, [this] { return waiting_ != 0 || stopping_; });
      if (waiting_ == 0) break;
      const uint32_t slot = queue_[head_];
      head_ = (head_ + 1) % queue_.size();
      waiting_--;
      const bool cancelled = cancelling_;
      lock.unlock();
      const DiskCompletion completion = {slot, cancelled ? -ECANCELED : transfer(progress_[slot])};
      sink_.deliver(&completion, 1);
      lock.lock();
    }
    const bool last = --running_ == 0;
    lock.unlock();
    if (last) sink_.ended();
  }

  int32_t transfer(DiskProgress& progress) {
    int32_t finalResult = 0;
    for (;;) {
      const auto offset = static_cast<off_t>(progress.fileOffset());
      const ssize_t moved = progress.op.kind == DiskOpKind::read
                                ? calls_.read(progress.op.fd, progress.address(), progress.remaining(), offset)
                                : calls_.write(progress.op.fd, progress.address(), progress.remaining(), offset);
      if (progress.advance(moved < 0 ? -errno : moved, &finalResult) == DiskProgress::Next::finished) return finalResult;
    }
  }

  DiskSink& sink_;
  const FileCalls calls_;
  std::vector<DiskProgress> progress_;
  // A ring of slots: as long as `depth`, and a slot is in it once at most.
  std::vector<uint32_t> queue_;
  size_t head_ = 0;
  size_t waiting_ = 0;
  int running_ = 0;
  bool stopping_ = false;
  bool cancelling_ = false;
  std::mutex mutex_;
  std::condition_variable work_;
  JoinableThread threads_[threadCount];
};

}  // namespace

std::unique_ptr<DiskEngine> makeThreadsEngine(uint32_t depth, DiskSink& sink, int* error, const FileCalls& calls) {
  auto engine = std::make_unique<ThreadsEngine>(depth, sink, calls);
  *error = engine->start();
  if (*error != 0) return nullptr;
  return engine;
}

}  // namespace primed
