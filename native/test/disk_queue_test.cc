// Both engines against real files, and against calls that are short, interrupted or stuck.
#include "../src/disk_queue.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "temporary_file.h"

using namespace primed;

namespace {

constexpr int limitMs = 20'000;

class Collector final : public DiskSink {
 public:
  void deliver(const DiskCompletion* completions, size_t count) override {
    std::lock_guard<std::mutex> lock(mutex_);
    CHECK(!ended_);
    for (size_t i = 0; i < count; i++) CHECK(results_.emplace(completions[i].slot, completions[i].result).second);
    changed_.notify_all();
  }
  void ended() override {
    std::lock_guard<std::mutex> lock(mutex_);
    CHECK(!ended_);
    ended_ = true;
    changed_.notify_all();
  }
  std::map<uint32_t, int32_t> take(size_t count) {
    std::unique_lock<std::mutex> lock(mutex_);
    CHECK(changed_.wait_for(lock, std::chrono::milliseconds(limitMs), [&] { return results_.size() >= count; }));
    CHECK(results_.size() == count);
    std::map<uint32_t, int32_t> taken;
    taken.swap(results_);
    return taken;
  }
  bool hasEnded() {
    std::lock_guard<std::mutex> lock(mutex_);
    return ended_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint32_t, int32_t> results_;
  bool ended_ = false;
};

using Make = std::unique_ptr<DiskEngine> (*)(uint32_t depth, DiskSink& sink, int* error);
std::unique_ptr<DiskEngine> makeThreads(uint32_t depth, DiskSink& sink, int* error) {
  return makeThreadsEngine(depth, sink, error);
}

void finish(std::unique_ptr<DiskEngine>& engine, Collector& sink) {
  engine->stop();
  CHECK(engine->join(limitMs));
  CHECK(sink.hasEnded());
  engine.reset();
}

int32_t one(DiskEngine& engine, Collector& sink, const DiskOp& op) {
  const uint32_t slot = 0;
  engine.submit(&slot, &op, 1);
  return sink.take(1).at(0);
}

void writesAndReads(Make make) {
  constexpr uint32_t depth = 16, size = 10'000, rounds = 8;
  const int fd = temporaryFile();
  Collector sink;
  int error = 0;
  auto engine = make(depth, sink, &error);
  CHECK(engine);
  std::vector<std::vector<uint8_t>> buffers(depth, std::vector<uint8_t>(size));
  for (const auto kind : {DiskOpKind::write, DiskOpKind::read}) {
    for (uint32_t round = 0; round < rounds; round++) {
      std::vector<uint32_t> slots;
      std::vector<DiskOp> ops;
      for (uint32_t slot = 0; slot < depth; slot++) {
        const uint64_t index = round * depth + slot;
        if (kind == DiskOpKind::write) memset(buffers[slot].data(), static_cast<int>(index), size);
        else memset(buffers[slot].data(), 0xEE, size);
        slots.push_back(slot);
        ops.push_back({kind, fd, buffers[slot].data(), index * size, size});
      }
      engine->submit(slots.data(), ops.data(), depth);
      const auto results = sink.take(depth);
      for (uint32_t slot = 0; slot < depth; slot++) {
        CHECK(results.at(slot) == static_cast<int32_t>(size));
        const auto wanted = static_cast<uint8_t>(round * depth + slot);
        for (const uint8_t byte : buffers[slot]) CHECK(byte == wanted);
      }
    }
  }
  uint8_t byte;
  CHECK(one(*engine, sink, {DiskOpKind::read, -1, &byte, 0, 1}) == -EBADF);
  CHECK(one(*engine, sink, {DiskOpKind::write, fd, nullptr, 0, 4096}) == -EFAULT);
  const uint64_t end = uint64_t(depth) * rounds * size;
  CHECK(one(*engine, sink, {DiskOpKind::read, fd, buffers[0].data(), end - 100, size}) == -ENODATA);
  const int full = open("/dev/full", O_WRONLY);
  CHECK(one(*engine, sink, {DiskOpKind::write, full, &byte, 0, 1}) == -ENOSPC);
  finish(engine, sink);
  close(full);
  close(fd);
}

void stopsAfterWhatIsInFlight(Make make) {
  constexpr uint32_t depth = 8, size = 1 << 20;
  const int fd = temporaryFile();
  Collector sink;
  int error = 0;
  auto engine = make(depth, sink, &error);
  std::vector<uint8_t> bytes(size, 7);
  std::vector<uint32_t> slots;
  std::vector<DiskOp> ops;
  for (uint32_t slot = 0; slot < depth; slot++) {
    slots.push_back(slot);
    ops.push_back({DiskOpKind::write, fd, bytes.data(), uint64_t(slot) * size, size});
  }
  engine->submit(slots.data(), ops.data(), depth);
  finish(engine, sink);
  for (const auto& [slot, result] : sink.take(depth)) CHECK(slot < depth && result == static_cast<int32_t>(size));
  close(fd);
}

// A pipe answers what it has: every read is short.
void uringContinuesShortReads() {
  int ends[2];
  CHECK(pipe(ends) == 0);
  Collector sink;
  int error = 0;
  auto engine = makeUringEngine(4, sink, &error);
  CHECK(engine);
  std::vector<uint8_t> bytes(3000);
  const uint32_t slot = 0;
  const DiskOp op = {DiskOpKind::read, ends[0], bytes.data(), 0, 3000};
  engine->submit(&slot, &op, 1);
  for (int piece = 0; piece < 3; piece++) {
    const std::string text(1000, static_cast<char>('a' + piece));
    CHECK(write(ends[1], text.data(), text.size()) == 1000);
    int left = 1;
    // The piece must have been taken out of the pipe before the next goes in, else one read would get both.
    for (int tries = 0; left != 0 && tries < limitMs; tries++) {
      CHECK(ioctl(ends[0], FIONREAD, &left) == 0);
      if (left != 0) std::this_thread::yield();
    }
  }
  CHECK(sink.take(1).at(0) == 3000);
  CHECK(bytes[0] == 'a' && bytes[999] == 'a' && bytes[1000] == 'b' && bytes[2999] == 'c');
  finish(engine, sink);
  close(ends[0]);
  close(ends[1]);
}

// A read that would wait for ever is called off.
void uringCancels() {
  int ends[2];
  CHECK(pipe(ends) == 0);
  Collector sink;
  int error = 0;
  auto engine = makeUringEngine(4, sink, &error);
  uint8_t bytes[2][16];
  const uint32_t slots[2] = {1, 3};
  const DiskOp ops[2] = {{DiskOpKind::read, ends[0], bytes[0], 0, 16}, {DiskOpKind::read, ends[0], bytes[1], 0, 16}};
  engine->submit(slots, ops, 2);
  engine->cancelAndStop();
  CHECK(engine->join(limitMs));
  const auto results = sink.take(2);
  CHECK(results.at(1) == -ECANCELED && results.at(3) == -ECANCELED);
  close(ends[0]);
  close(ends[1]);
}

int shortCalls = 0;
ssize_t shortWrite(int fd, const void* bytes, size_t length, off_t offset) {
  shortCalls++;
  if (shortCalls % 3 == 0) {
    errno = EINTR;
    return -1;
  }
  return pwrite(fd, bytes, length > 100 ? 100 : length, offset);
}
ssize_t shortRead(int fd, void* bytes, size_t length, off_t offset) {
  shortCalls++;
  return pread(fd, bytes, length > 100 ? 100 : length, offset);
}
int stuckCalls = 0;
ssize_t stuckWrite(int, const void*, size_t, off_t) {
  stuckCalls++;
  errno = EAGAIN;
  return -1;
}
ssize_t emptyRead(int, void*, size_t, off_t) { return 0; }
ssize_t emptyWrite(int, const void*, size_t, off_t) { return 0; }

void threadsContinueAndGiveUp() {
  const int fd = temporaryFile();
  std::vector<uint8_t> bytes(2050), back(2050);
  for (size_t i = 0; i < bytes.size(); i++) bytes[i] = static_cast<uint8_t>(i * 7);
  Collector sink;
  int error = 0;
  auto engine = makeThreadsEngine(4, sink, &error, {shortRead, shortWrite});
  CHECK(one(*engine, sink, {DiskOpKind::write, fd, bytes.data(), 5, 2050}) == 2050);
  CHECK(shortCalls > 21);
  CHECK(one(*engine, sink, {DiskOpKind::read, fd, back.data(), 5, 2050}) == 2050);
  CHECK(bytes == back);
  finish(engine, sink);

  Collector stuck;
  engine = makeThreadsEngine(4, stuck, &error, {emptyRead, stuckWrite});
  CHECK(one(*engine, stuck, {DiskOpKind::write, fd, bytes.data(), 0, 10}) == -EAGAIN);
  CHECK(stuckCalls > 100);
  CHECK(one(*engine, stuck, {DiskOpKind::read, fd, bytes.data(), 0, 10}) == -ENODATA);
  finish(engine, stuck);

  Collector empty;
  engine = makeThreadsEngine(4, empty, &error, {emptyRead, emptyWrite});
  CHECK(one(*engine, empty, {DiskOpKind::write, fd, bytes.data(), 0, 10}) == -EIO);
  finish(engine, empty);
  close(fd);
}

std::mutex gate;
ssize_t gatedWrite(int, const void*, size_t length, off_t) {
  std::lock_guard<std::mutex> lock(gate);
  return static_cast<ssize_t>(length);
}

// Two run, the rest wait in line and are called off.
void threadsCancelWhatHasNotBegun() {
  Collector sink;
  int error = 0;
  auto engine = makeThreadsEngine(8, sink, &error, {emptyRead, gatedWrite});
  uint8_t byte = 0;
  std::vector<uint32_t> slots;
  std::vector<DiskOp> ops(8, DiskOp{DiskOpKind::write, -1, &byte, 0, 1});
  for (uint32_t slot = 0; slot < 8; slot++) slots.push_back(slot);
  {
    std::lock_guard<std::mutex> lock(gate);
    engine->submit(slots.data(), ops.data(), 8);
    engine->cancelAndStop();
  }
  CHECK(engine->join(limitMs));
  int cancelled = 0;
  for (const auto& [slot, result] : sink.take(8)) {
    CHECK(slot < 8 && (result == 1 || result == -ECANCELED));
    cancelled += result == -ECANCELED;
  }
  CHECK(cancelled >= 6);
}

}  // namespace

void testDiskQueue() {
  std::vector<Make> engines = {makeThreads};
  Collector probe;
  int error = 0;
  auto uring = makeUringEngine(1, probe, &error);
  if (uring) {
    finish(uring, probe);
    engines.push_back(makeUringEngine);
    uringContinuesShortReads();
    uringCancels();
  } else {
    printf("  io_uring is not available here (%s): its engine is not tested\n", strerror(error));
  }
  for (const Make make : engines) {
    writesAndReads(make);
    stopsAfterWhatIsInFlight(make);
  }
  threadsContinueAndGiveUp();
  threadsCancelWhatHasNotBegun();
  printf("  %zu disk engines\n", engines.size());
}
