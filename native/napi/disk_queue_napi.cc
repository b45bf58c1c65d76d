// DiskQueue for JavaScript. One call a batch of operations, one callback a batch of completions; what they carry lies
// in memory that both sides see, made in JavaScript and touched on its thread only:
//
//   Float64Array ops, 5 a slot:  | kind (0 read, 1 write) | fd | address | length | file offset |
//   Int32Array ints:             | depth slots to submit | depth slots completed | depth results |
//
// Completions arrive on other threads, are gathered in `arrived_`, and wake the event loop once a batch by a
// thread-safe function. That function holds the process open only while something is in flight.
//
// End of life: close() stops the engine; its last word ended() is the last batch, after which everything is
// released. If the environment goes first (process.exit, a terminated worker thread), the cleanup hook calls off
// what it can and waits for the rest, because the kernel still writes to memory that is about to be freed.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <vector>

#include "../src/disk_queue.h"
#include "value.h"

namespace primed {
namespace {

constexpr int opWords = 5;
// A disk that has not answered for this long will not; memory it may still write to must not be freed.
constexpr int teardownLimitMs = 60'000;

std::atomic<int> liveQueues{0};

class QueueBinding final : public DiskSink {
 public:
  QueueBinding(uint32_t depth, const double* ops, int32_t* ints) : depth_(depth), ops_(ops), ints_(ints) {
    arrived_.reserve(depth);
    staged_.resize(depth);
    liveQueues++;
  }
  ~QueueBinding() override { liveQueues--; }

  // Any thread.
  void deliver(const DiskCompletion* completions, size_t count) override {
    std::lock_guard<std::mutex> lock(mutex_);
    arrived_.insert(arrived_.end(), completions, completions + count);
    wake();
  }
  void ended() override {
    std::lock_guard<std::mutex> lock(mutex_);
    ended_ = true;
    wake();
  }

  // The thread of the environment, from here on.
  static napi_value open(napi_env env, napi_callback_info info);
  void submit(napi_env env, uint32_t count);
  void close(napi_env env);

 private:
  void wake() {
    if (scheduled_ || muted_) return;
    scheduled_ = true;
    napi_call_threadsafe_function(wakeUp_, nullptr, napi_tsfn_nonblocking);
  }

  static void onWake(napi_env env, napi_value callback, void* context, void*) {
    if (env != nullptr) static_cast<QueueBinding*>(context)->drain(env, callback);
  }
  void drain(napi_env env, napi_value callback);
  static void call(napi_env env, napi_value callback, int32_t count);
  static void onTeardown(void* self);
  static void onFinalize(napi_env, void* self, void*) { delete static_cast<QueueBinding*>(self); }

  const uint32_t depth_;
  const double* const ops_;
  int32_t* const ints_;
  std::vector<DiskOp> staged_;
  uint32_t inFlight_ = 0;
  bool closing_ = false;
  napi_env env_ = nullptr;
  napi_ref opsReference_ = nullptr;
  napi_ref intsReference_ = nullptr;
  napi_threadsafe_function wakeUp_ = nullptr;
  std::unique_ptr<DiskEngine> engine_;

  std::mutex mutex_;
  std::vector<DiskCompletion> arrived_;
  bool scheduled_ = false;
  bool ended_ = false;
  bool muted_ = false;
};

// diskQueueOpen(engine, depth, ops, ints, callback): a handle, or -errno. callback(count); -1 after close().
napi_value QueueBinding::open(napi_env env, napi_callback_info info) {
  const Arguments<5> arguments(env, info);
  std::string engineName;
  uint32_t depth;
  void *ops, *ints;
  if (!arguments.complete || !getString(env, arguments.at[0], &engineName)) return nullptr;
  PRIMED_NAPI(napi_get_value_uint32(env, arguments.at[1], &depth));
  size_t opsLength, intsLength;
  PRIMED_NAPI(napi_get_typedarray_info(env, arguments.at[2], nullptr, &opsLength, &ops, nullptr, nullptr));
  PRIMED_NAPI(napi_get_typedarray_info(env, arguments.at[3], nullptr, &intsLength, &ints, nullptr, nullptr));
  if (depth == 0 || depth > maxQueueDepth || opsLength < size_t(depth) * opWords || intsLength < size_t(depth) * 3) {
    napi_throw_range_error(env, "NATIVE_CALL", "native/: the memory of a disk queue does not fit its depth");
    return nullptr;
  }

  auto binding = std::make_unique<QueueBinding>(depth, static_cast<const double*>(ops), static_cast<int32_t*>(ints));
  int error = 0;
  binding->engine_ = engineName == "io_uring" ? makeUringEngine(depth, *binding, &error)
                                              : makeThreadsEngine(depth, *binding, &error);
  if (!binding->engine_) return makeNumber(env, -error);

  QueueBinding* self = binding.release();
  self->env_ = env;
  napi_value name, handle = nullptr;
  const bool bound =
      napi_create_string_utf8(env, "primed.diskQueue", NAPI_AUTO_LENGTH, &name) == napi_ok &&
      napi_create_reference(env, arguments.at[2], 1, &self->opsReference_) == napi_ok &&
      napi_create_reference(env, arguments.at[3], 1, &self->intsReference_) == napi_ok &&
      napi_create_external(env, self, nullptr, nullptr, &handle) == napi_ok &&
      napi_create_threadsafe_function(env, arguments.at[4], nullptr, name, 0, 1, self, onFinalize, self, onWake,
                                      &self->wakeUp_) == napi_ok;
  if (!bound) {
    self->muted_ = true;
    self->engine_->stop();
    self->engine_->join(teardownLimitMs);
    delete self;
    napi_throw_error(env, "NATIVE_CALL", "native/: the disk queue could not be bound to this environment");
    return nullptr;
  }
  napi_unref_threadsafe_function(env, self->wakeUp_);
  napi_add_env_cleanup_hook(env, onTeardown, self);
  return handle;
}

void QueueBinding::submit(napi_env env, uint32_t count) {
  const auto* slots = reinterpret_cast<const uint32_t*>(ints_);
  for (uint32_t i = 0; i < count; i++) {
    const double* op = ops_ + size_t(slots[i]) * opWords;
    staged_[i] = DiskOp{op[0] == 0 ? DiskOpKind::read : DiskOpKind::write, static_cast<int>(op[1]), pointerFrom(op[2]),
                        static_cast<uint64_t>(op[4]), static_cast<uint32_t>(op[3])};
  }
  if (inFlight_ == 0) napi_ref_threadsafe_function(env, wakeUp_);
  inFlight_ += count;
  engine_->submit(slots, staged_.data(), count);
}

void QueueBinding::close(napi_env env) {
  closing_ = true;
  napi_ref_threadsafe_function(env, wakeUp_);
  engine_->stop();
}

void QueueBinding::drain(napi_env env, napi_value callback) {
  uint32_t count;
  bool last;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    count = static_cast<uint32_t>(arrived_.size());
    for (uint32_t i = 0; i < count; i++) {
      ints_[depth_ + i] = static_cast<int32_t>(arrived_[i].slot);
      ints_[2 * depth_ + i] = arrived_[i].result;
    }
    arrived_.clear();
    scheduled_ = false;
    last = ended_;
  }
  inFlight_ -= count;
  if (inFlight_ == 0 && !closing_) napi_unref_threadsafe_function(env, wakeUp_);
  if (count != 0) call(env, callback, static_cast<int32_t>(count));
  if (!last) return;
  engine_->join(teardownLimitMs);
  napi_remove_env_cleanup_hook(env, onTeardown, this);
  napi_delete_reference(env, opsReference_);
  napi_delete_reference(env, intsReference_);
  // The finalizer of the thread-safe function deletes this.
  napi_release_threadsafe_function(wakeUp_, napi_tsfn_release);
  call(env, callback, -1);
}

void QueueBinding::call(napi_env env, napi_value callback, int32_t count) {
  napi_value global, argument;
  napi_get_global(env, &global);
  napi_create_int32(env, count, &argument);
  if (napi_call_function(env, global, callback, 1, &argument, nullptr) == napi_ok) return;
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (!pending) return;
  napi_value error;
  napi_get_and_clear_last_exception(env, &error);
  napi_fatal_exception(env, error);  // 'uncaughtException', as for any callback of Node's own
}

void QueueBinding::onTeardown(void* data) {
  auto* self = static_cast<QueueBinding*>(data);
  {
    std::lock_guard<std::mutex> lock(self->mutex_);
    self->muted_ = true;
  }
  if (!self->closing_) self->engine_->cancelAndStop();
  if (!self->engine_->join(teardownLimitMs)) {
    fprintf(stderr,
            "primed: a disk operation is still unanswered %d s after its thread ended. The memory it uses cannot be "
            "released safely; the process ends here. Look for a hung device in the kernel log.\n",
            teardownLimitMs / 1000);
    abort();
  }
  napi_release_threadsafe_function(self->wakeUp_, napi_tsfn_release);
}

QueueBinding* queueOf(napi_env env, napi_value handle) {
  void* queue = nullptr;
  return napi_get_value_external(env, handle, &queue) == napi_ok ? static_cast<QueueBinding*>(queue) : nullptr;
}

// diskQueueSubmit(handle, count): the first `count` slots of ints
napi_value submitCall(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  uint32_t count;
  QueueBinding* queue = arguments.complete ? queueOf(env, arguments.at[0]) : nullptr;
  if (queue == nullptr) return nullptr;
  PRIMED_NAPI(napi_get_value_uint32(env, arguments.at[1], &count));
  queue->submit(env, count);
  return nullptr;
}

// diskQueueClose(handle): the handle is dead when callback(-1) was called
napi_value closeCall(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  QueueBinding* queue = arguments.complete ? queueOf(env, arguments.at[0]) : nullptr;
  if (queue != nullptr) queue->close(env);
  return nullptr;
}

// diskQueueCount(): queues of all threads that have not been released; for tests of leaks
napi_value countCall(napi_env env, napi_callback_info) { return makeNumber(env, liveQueues.load()); }

}  // namespace

napi_status addDiskQueue(napi_env env, napi_value exports) {
  napi_status status = addFunction(env, exports, "diskQueueOpen", QueueBinding::open);
  if (status == napi_ok) status = addFunction(env, exports, "diskQueueSubmit", submitCall);
  if (status == napi_ok) status = addFunction(env, exports, "diskQueueClose", closeCall);
  if (status == napi_ok) status = addFunction(env, exports, "diskQueueCount", countCall);
  return status;
}

}  // namespace primed
