// Sends pages of files to sockets: from the cache, and what is not there by direct reads ahead of the socket.
//
//   owner thread                   sender thread                        reaper of the disk engine
//   trySend() (cached_send.h)
//   start(job) --> inbox --------> take page, sendfile, next page
//                                  EAGAIN: epoll, nothing pinned
//                                  not cached: read -------------------> checksum, settle
//                                  <------------- inbox ---------------- page pinned for the job
//                    done(token, outcome), when no read of the job is under way
//
// A job that waits for its socket holds the name of it (socket_hand.h), and its list of pages. What it is about to send may be evicted
// meanwhile, and is read again then.
#pragma once
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "cached_send.h"
#include "disk_queue.h"
#include "joinable_thread.h"
#include "listen.h"
#include "page_cache.h"
#include "socket_hand.h"

namespace primed {

enum class SendOutcome : int32_t {
  sent = 0,
  gone = 1,       // the other end closed
  stalled = 2,    // it took too long over a page
  badPage = 3,    // a page does not have its checksum
  diskError = 4,  // a page could not be read
  cancelled = 5,
};

class SenderSink {
 public:
  virtual ~SenderSink() = default;
  // On the sender's thread. `sentBytes` of the pages were taken by the kernel.
  virtual void done(uint64_t token, SendOutcome outcome, uint64_t sentBytes) = 0;
};

// Of one connection 1 MiB for the first 128, then less: with 10,000 at once some 700 MB in all.
constexpr uint64_t unsentBytes = 128u << 20;

struct SenderLimits {
  uint32_t loads;        // reads at the disk at once
  uint32_t pagesAhead;   // of one job
  int stallMs;           // for a page
};

class PageSender final : public PageWaiter, public DiskSink {
 public:
  PageSender(PageCache& cache, SenderSink& sink, const SenderLimits& limits);
  ~PageSender() override;
  // 0 or a positive errno. `engine`: io_uring or threads.
  int open(bool uring);

  // The owner's thread, which may close the socket whenever it likes: the job then ends as `gone`, at the latest when it is
  // cancelled or has stalled. 0, or a positive errno: then nothing was started.
  int start(SendOrder&& order);
  // What a client may leave untaken in the kernel, of which all of them have so much together: beyond its limit for all
  // of TCP the kernel cuts off clients that are not to blame.
  void limitUnsent(int socket) const;
  // So many that a share is less than what a listening socket gives to its connections.
  bool isCrowded() const { return cache_.jobs.load(std::memory_order_relaxed) >= unsentBytes / mostUnsentBytes; }
  void cancel(uint64_t token);
  // Ends every job, and waits for the reads that run. False: a disk did not answer in time.
  bool close(int limitMs);

  void pageSettled(uint64_t token, uint32_t slot, int status) override;
  void deliver(const DiskCompletion* completions, size_t count) override;
  void ended() override {}

  uint64_t readBytes() const { return readBytes_.load(std::memory_order_relaxed); }

 private:
  struct Job {
    SendOrder order;
    SocketName socket;
    size_t page = 0;
    uint32_t inPage = 0;
    uint64_t sent = 0;
    size_t ahead = 0;
    uint32_t loads = 0;
    int64_t deadlineMs = 0;
    bool pinned = false;
    uint32_t slot = 0;
    bool waiting = false;   // for a page
    bool queued = false;    // for a free load
    bool polled = false;    // has waited for its socket
    bool ended = false;
    SendOutcome outcome = SendOutcome::cancelled;
  };
  struct Load {
    uint64_t job = 0;
    StoredPage page;
    uint32_t slot = 0;
    size_t extent = 0;
    uint32_t filled = 0;
    bool busy = false;
  };
  struct Message {
    enum class Kind { start, cancel, settled, nextExtent, loaded } kind;
    uint64_t token;
    uint32_t slot;
    int status;
    std::unique_ptr<Job> job;
  };

  void post(Message&& message);
  void run();
  void handle(Message& message);
  void advance(uint64_t token, Job& job);
  void sendPages(uint64_t token, Job& job);
  bool sendHead(uint64_t token, Job& job);
  bool holdPage(uint64_t token, Job& job);
  void readAhead(uint64_t token, Job& job);
  void startLoad(uint64_t token, Job& job, const StoredPage& page, uint32_t slot);
  void submitExtent(uint32_t load);
  void finish(uint64_t token, Job& job, SendOutcome outcome);
  void endIfIdle(uint64_t token, Job& job);
  void waitForSocket(uint64_t token, Job& job);
  void retryQueued();
  void cutStalled();

  PageCache& cache_;
  SenderSink& sink_;
  const SenderLimits limits_;
  int epoll_ = -1;
  int wake_ = -1;
  std::unique_ptr<DiskEngine> disk_;
  JoinableThread thread_;
  bool started_ = false;
  std::atomic<bool> stopping_{false};
  std::atomic<uint64_t> readBytes_{0};

  std::mutex inboxMutex_;
  std::vector<Message> inbox_;

  // The sender's thread alone.
  SocketHand hand_;
  std::unordered_map<uint64_t, std::unique_ptr<Job>> jobs_;
  std::vector<Load> loads_;
  std::vector<uint32_t> freeLoads_;
  std::deque<uint64_t> queue_;
  int64_t sweptMs_ = 0;
};

}  // namespace primed
