// Connections that end, are reset, or give their number to another, while the sender has answers for them.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include "sending.h"

using namespace primed;

namespace {

int descriptorsOpen() {
  int open = 0;
  for (int fd = 0; fd < 4096; fd++) open += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return open;
}

// A job that has its head sent, and waits for its first page, which nobody has read yet.
struct WaitingJob : Sending {
  Waiter reader;
  Pair pair;
  uint32_t slot = 0;

  WaitingJob() {
    CHECK(cache.take({1, 0}, frameBytes, &reader, 0, &slot) == PageCache::Taken::mine);
    CHECK(sender.start(whole(1, pair.server, "head")) == 0);
    CHECK(readFrom(pair.client, 4).size() == 4);
  }
  ~WaitingJob() { CHECK(sender.close(limitMs)); }
  // The page is there: the job, whose socket has room, sends it.
  void settle() {
    memcpy(cache.address(slot), file.bytes.data(), cachePageBytes);
    cache.settle(slot, 0);
  }
};

// The descriptor of a connection is closed by its owner, and another has its number at once: a connection, or a file, to which
// sendfile would write as well. Nothing of the answer gets there.
void testNumberOfAnother() {
  for (const bool isFile : {false, true}) {
    WaitingJob job;
    Pair other;
    const StoredFile untouched;
    const int number = job.pair.server;
    CHECK(dup2(isFile ? untouched.fd : other.server, number) == number);
    // It is closed: the sender holds nothing of it.
    CHECK(readFrom(job.pair.client, 1).empty());
    job.settle();
    const auto end = job.ends.take(1);
    CHECK(end.first == SendOutcome::gone && end.second == 0);
    if (isFile) {
      CHECK(lseek(number, 0, SEEK_CUR) == 0 && lseek(number, 0, SEEK_END) == static_cast<off_t>(untouched.bytes.size()));
      std::vector<uint8_t> bytes(untouched.bytes.size());
      CHECK(pread(number, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()) && bytes == untouched.bytes);
    } else {
      uint8_t byte;
      CHECK(recv(other.client, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
      // Its own answer is whole.
      CHECK(job.sender.start(job.whole(2, number)) == 0);
      CHECK(job.isWhole(readFrom(other.client, job.file.size())));
      CHECK(job.ends.take(2).first == SendOutcome::sent);
    }
  }
}

// The same while the job waits for its socket: it is not woken for what has its number now, and both may wait at once.
void testNumberOfAnotherWaiting() {
  Sending its;
  Pair pair, other;
  for (const int fd : {pair.server, other.server}) shrinkBuffer(fd);
  const int number = pair.server;
  const auto waits = [&](int client) {
    int unread = 0;
    for (int before = -1; unread == 0 || unread != before; usleep(50'000)) {
      before = unread;
      CHECK(ioctl(client, FIONREAD, &unread) == 0);
    }
  };
  CHECK(its.sender.start(its.whole(1, number)) == 0);
  waits(pair.client);
  CHECK(dup2(other.server, number) == number);
  CHECK(its.sender.start(its.whole(2, number)) == 0);
  waits(other.client);
  // The end of the first is not the end of the second's waiting.
  its.sender.cancel(1);
  CHECK(its.ends.take(1).first != SendOutcome::sent);
  CHECK(its.isWhole(readFrom(other.client, its.file.size())));
  CHECK(its.ends.take(2).first == SendOutcome::sent);
  // What the first one's client has got is a beginning, and then the connection was closed.
  const auto begun = readFrom(pair.client, its.file.size());
  CHECK(begun.size() < its.file.size() && its.isBeginning(begun));
}

// Reset by its client in the middle, and the next answers of a connection whose earlier ones had waited.
void testResetAndKept() {
  Sending its;
  {
    Pair pair;
    shrinkBuffer(pair.server);
    CHECK(its.sender.start(its.whole(1, pair.server)) == 0);
    CHECK(readFrom(pair.client, 1000).size() == 1000);
    const linger now = {1, 0};
    setsockopt(pair.client, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(pair.client);
    pair.client = -1;
    const auto end = its.ends.take(1);
    CHECK(end.first == SendOutcome::gone && end.second < its.file.size());
  }
  Pair kept;
  shrinkBuffer(kept.server);
  for (uint64_t token = 2; token < 6; token++) {
    CHECK(its.sender.start(its.whole(token, kept.server)) == 0);
    CHECK(its.isWhole(readFrom(kept.client, its.file.size())));
    CHECK(its.ends.take(token).first == SendOutcome::sent);
  }
}

// A connection that is waited for has one descriptor; at the limit of descriptors answers that were begun go on.
void testDescriptors() {
  WaitingJob job;
  const int before = descriptorsOpen();
  Pair more[16];
  for (int i = 0; i < 16; i++) CHECK(job.sender.start(job.whole(uint64_t(10 + i), more[i].server, "head")) == 0);
  for (const Pair& one : more) CHECK(readFrom(one.client, 4).size() == 4);
  CHECK(descriptorsOpen() == before + 2 * 16);
  rlimit whole;
  CHECK(getrlimit(RLIMIT_NOFILE, &whole) == 0);
  std::vector<int> others;
  const rlimit few = {256, whole.rlim_max};
  CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
  for (int fd; (fd = dup(more[0].client)) >= 0;) others.push_back(fd);
  CHECK(errno == EMFILE);
  job.settle();
  CHECK(readFrom(job.pair.client, job.file.size()).size() == job.file.size());
  for (const Pair& one : more) CHECK(readFrom(one.client, job.file.size()).size() == job.file.size());
  for (const int fd : others) close(fd);
  CHECK(setrlimit(RLIMIT_NOFILE, &whole) == 0);
}

}  // namespace

// SIGPIPE is ignored, as Node has it.
void testConnections() {
  testNumberOfAnother();
  testNumberOfAnotherWaiting();
  testResetAndKept();
  testDescriptors();
}
