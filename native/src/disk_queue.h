// Asynchronous reads and writes, as two engines behind one interface.
//
//   owner thread                         engine                              sink (any thread)
//   ops[slot] = {...}; submit(slots) ->  io_uring: kernel, then a reaper  -> deliver({slot, result}...)
//                                        threads:  two threads, pread/pwrite
//   stop()                           ->  nothing in flight any more       -> ended()   (last call, once)
//   join()                               the threads are gone
//
// A slot is an index below `depth` that the owner chose and does not use again before it was delivered. Short
// transfers are continued here: a result is the whole length, or -errno. The end of the file before the whole
// length is -ENODATA. Lengths are at most maxTransferBytes.
#pragma once
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace primed {

constexpr uint32_t maxQueueDepth = 4096;
constexpr uint32_t maxTransferBytes = 1u << 30;  // Linux moves at most 2 GiB - 4 KiB in one call

enum class DiskOpKind : uint8_t { read, write };

struct DiskOp {
  DiskOpKind kind;
  int fd;
  uint8_t* address;
  uint64_t fileOffset;
  uint32_t length;
};

struct DiskCompletion {
  uint32_t slot;
  int32_t result;
};

class DiskSink {
 public:
  virtual ~DiskSink() = default;
  virtual void deliver(const DiskCompletion* completions, size_t count) = 0;
  virtual void ended() = 0;
};

class DiskEngine {
 public:
  virtual ~DiskEngine() = default;
  // Owner thread only. Operations that cannot be started are delivered as errors.
  virtual void submit(const uint32_t* slots, const DiskOp* ops, size_t count) = 0;
  // Owner thread only, once, after the last submit.
  virtual void stop() = 0;
  // As stop, and what can be called off is delivered as -ECANCELED.
  virtual void cancelAndStop() = 0;
  // Waits until ended() has returned and the threads are gone. False: `limitMs` passed first.
  virtual bool join(int limitMs) = 0;
};

// Both return null and set *error to a positive errno when the engine cannot be had.
std::unique_ptr<DiskEngine> makeUringEngine(uint32_t depth, DiskSink& sink, int* error);

// Replaceable, so that a test can make them short or interrupted.
struct FileCalls {
  ssize_t (*read)(int fd, void* buffer, size_t length, off_t offset);
  ssize_t (*write)(int fd, const void* buffer, size_t length, off_t offset);
};
extern const FileCalls systemFileCalls;
std::unique_ptr<DiskEngine> makeThreadsEngine(uint32_t depth, DiskSink& sink, int* error,
                                              const FileCalls& calls = systemFileCalls);

// What is left of an operation, and what to do after one attempt returned `result` (bytes, or -errno).
// Both engines decide here.
struct DiskProgress {
  DiskOp op{};
  uint32_t doneBytes = 0;
  uint32_t retries = 0;

  enum class Next { again, finished };
  Next advance(int64_t result, int32_t* finalResult);

  uint8_t* address() const { return op.address + doneBytes; }
  uint64_t fileOffset() const { return op.fileOffset + doneBytes; }
  uint32_t remaining() const { return op.length - doneBytes; }
};

}  // namespace primed
