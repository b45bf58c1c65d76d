#include "page_sender.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "crc.h"

namespace primed {
namespace {

constexpr uint64_t wakeToken = ~uint64_t(0);
constexpr int sweepMs = 1000;
// While every page is pinned or being loaded: the next look at whether one is free.
constexpr int fullRetryMs = 5;
// What one job sends before it is another's turn.
constexpr uint64_t turnBytes = 4u << 20;
constexpr uint64_t leastUnsentBytes = 16u << 10;

int64_t nowMs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

}  // namespace

PageSender::PageSender(PageCache& cache, SenderSink& sink, const SenderLimits& limits)
    : cache_(cache), sink_(sink), limits_(limits), loads_(limits.loads) {
  for (uint32_t i = limits.loads; i-- > 0;) freeLoads_.push_back(i);
}

PageSender::~PageSender() {
  if (epoll_ >= 0) ::close(epoll_);
  if (wake_ >= 0) ::close(wake_);
}

int PageSender::open(bool uring) {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ < 0) return errno;
  wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_ < 0) return errno;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = wakeToken;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event) != 0) return errno;
  int error = hand_.open(wake_);
  if (error != 0) return error;
  disk_ = uring ? makeUringEngine(limits_.loads, *this, &error) : makeThreadsEngine(limits_.loads, *this, &error);
  if (disk_ == nullptr) return error;
  error = thread_.start([](void* self) { static_cast<PageSender*>(self)->run(); }, this);
  if (error != 0) {
    disk_->stop();
    disk_->join(1000);
    return error;
  }
  started_ = true;
  return 0;
}

void PageSender::limitUnsent(int socket) const {
  const uint64_t share = unsentBytes / (cache_.jobs.load(std::memory_order_relaxed) + 1);
  const auto most = static_cast<int>(std::min(std::max(share, leastUnsentBytes), mostUnsentBytes));
  // Where the kernel has no such limit, its buffers are as large as it makes them.
  setsockopt(socket, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &most, sizeof most);
}

int PageSender::start(SendOrder&& order) {
  auto job = std::make_unique<Job>();
  const uint64_t token = order.token;
  if (order.socket >= 0) {
    const int error = nameOf(order.socket, &job->socket);
    if (error != 0) return error;
  }
  cache_.jobs.fetch_add(1, std::memory_order_relaxed);
  job->inPage = order.skipBytes;
  job->order = std::move(order);
  post({Message::Kind::start, token, 0, 0, std::move(job)});
  return 0;
}

void PageSender::cancel(uint64_t token) { post({Message::Kind::cancel, token, 0, 0, nullptr}); }

bool PageSender::close(int limitMs) {
  if (!started_) return true;
  stopping_.store(true, std::memory_order_release);
  const uint64_t one = 1;
  if (write(wake_, &one, sizeof one) < 0 && errno != EAGAIN) return false;
  if (!thread_.join(limitMs)) return false;
  cache_.forget(this);
  for (const Message& message : inbox_) {
    if (message.kind == Message::Kind::settled && message.status == 0) cache_.release(message.slot);
  }
  inbox_.clear();
  started_ = false;
  return disk_->join(limitMs);
}

void PageSender::post(Message&& message) {
  bool wake;
  {
    std::lock_guard<std::mutex> lock(inboxMutex_);
    wake = inbox_.empty();
    inbox_.push_back(std::move(message));
  }
  const uint64_t one = 1;
  // A full counter wakes as well as a written one.
  if (wake && write(wake_, &one, sizeof one) < 0) return;
}

void PageSender::pageSettled(uint64_t token, uint32_t slot, int status) {
  post({Message::Kind::settled, token, slot, status, nullptr});
}

// On the reaper of the disk engine. A load is its thread's until it posts what comes next.
void PageSender::deliver(const DiskCompletion* completions, size_t count) {
  for (size_t i = 0; i < count; i++) {
    Load& load = loads_[completions[i].slot];
    const uint32_t at = completions[i].slot;
    int status = 0;
    if (completions[i].result < 0) {
      status = static_cast<int>(SendOutcome::diskError);
    } else {
      load.filled += load.page.extents[load.extent].length;
      load.extent++;
      if (load.extent < load.page.extents.size()) {
        post({Message::Kind::nextExtent, at, 0, 0, nullptr});
        continue;
      }
      const uint8_t* data = cache_.address(load.slot);
      if (crc32c(0, data, load.page.lengthBytes) != load.page.checksum) status = static_cast<int>(SendOutcome::badPage);
      readBytes_.fetch_add(load.filled, std::memory_order_relaxed);
    }
    cache_.settle(load.slot, status);
    post({Message::Kind::loaded, at, 0, status, nullptr});
  }
}

void PageSender::run() {
  epoll_event events[128];
  std::vector<Message> messages;
  bool closing = false;
  for (;;) {
    const int timeoutMs = !queue_.empty() ? fullRetryMs : jobs_.empty() ? -1 : sweepMs;
    const int ready = epoll_wait(epoll_, events, 128, timeoutMs);
    for (int i = 0; i < ready; i++) {
      if (events[i].data.u64 == wakeToken) {
        uint64_t count;
        if (read(wake_, &count, sizeof count) < 0) count = 0;  // somebody else's wake-up: the inbox is looked at anyway
        continue;
      }
      const auto found = jobs_.find(events[i].data.u64);
      if (found != jobs_.end() && !found->second->ended) advance(found->first, *found->second);
    }
    {
      std::lock_guard<std::mutex> lock(inboxMutex_);
      messages.swap(inbox_);
    }
    for (Message& message : messages) handle(message);
    messages.clear();
    retryQueued();
    cutStalled();
    if (stopping_.load(std::memory_order_acquire) && !closing) {
      closing = true;
      std::vector<uint64_t> tokens;
      for (const auto& one : jobs_) tokens.push_back(one.first);
      for (const uint64_t token : tokens) finish(token, *jobs_[token], SendOutcome::cancelled);
      disk_->cancelAndStop();
    }
    // Reads of jobs are what keeps them; each is answered, called off or not.
    if (!closing || !jobs_.empty() || freeLoads_.size() != loads_.size()) continue;
    std::lock_guard<std::mutex> lock(inboxMutex_);
    const auto isOrder = [](const Message& message) { return message.kind == Message::Kind::start; };
    if (std::none_of(inbox_.begin(), inbox_.end(), isOrder)) return;
  }
}

void PageSender::handle(Message& message) {
  const uint64_t token = message.token;
  switch (message.kind) {
    case Message::Kind::start: {
      Job& job = *(jobs_[token] = std::move(message.job));
      job.deadlineMs = nowMs() + limits_.stallMs;
      if (stopping_.load(std::memory_order_relaxed)) finish(token, job, SendOutcome::cancelled);
      else advance(token, job);
      return;
    }
    case Message::Kind::cancel: {
      const auto found = jobs_.find(token);
      if (found != jobs_.end()) finish(token, *found->second, SendOutcome::cancelled);
      return;
    }
    case Message::Kind::settled: {
      const auto found = jobs_.find(token);
      if (found == jobs_.end() || found->second->ended) {
        if (message.status == 0) cache_.release(message.slot);
        if (found != jobs_.end()) {
          found->second->waiting = false;
          endIfIdle(token, *found->second);
        }
        return;
      }
      Job& job = *found->second;
      job.waiting = false;
      if (message.status != 0) {
        finish(token, job, static_cast<SendOutcome>(message.status));
        return;
      }
      job.pinned = true;
      job.slot = message.slot;
      advance(token, job);
      return;
    }
    case Message::Kind::nextExtent:
      submitExtent(static_cast<uint32_t>(token));
      return;
    case Message::Kind::loaded: {
      const auto at = static_cast<uint32_t>(token);
      Load& load = loads_[at];
      const uint64_t owner = load.job;
      load.page = StoredPage{};
      freeLoads_.push_back(at);
      const auto found = jobs_.find(owner);
      if (found == jobs_.end()) return;
      found->second->loads--;
      endIfIdle(owner, *found->second);
      return;
    }
  }
}

void PageSender::advance(uint64_t token, Job& job) {
  if (job.waiting || job.queued) return;
  sendPages(token, job);
  hand_.put();
}

// `job` may be no more afterwards.
void PageSender::sendPages(uint64_t token, Job& job) {
  if (!job.order.head.empty() && !sendHead(token, job)) return;
  uint64_t turn = 0;
  while (job.sent < job.order.lengthBytes) {
    if (!job.pinned && !holdPage(token, job)) {
      if (job.waiting) readAhead(token, job);
      return;
    }
    readAhead(token, job);
    if (job.order.socket < 0) break;
    const StoredPage& page = job.order.pages[job.page];
    const uint64_t left = job.order.lengthBytes - job.sent;
    const auto wanted = static_cast<uint32_t>(std::min<uint64_t>(left, page.lengthBytes - job.inPage));
    const int socket = hand_.take(job.socket);
    const int64_t sent = socket < 0 ? -EBADF : sendSome(cache_, socket, job.slot, job.inPage, wanted, job.order.copied);
    if (sent < 0) {
      finish(token, job, SendOutcome::gone);
      return;
    }
    job.sent += static_cast<uint64_t>(sent);
    job.inPage += static_cast<uint32_t>(sent);
    turn += static_cast<uint64_t>(sent);
    if (sent == wanted) {
      job.page++;
      job.inPage = 0;
      job.deadlineMs = nowMs() + limits_.stallMs;
    }
    if (sent == wanted || sent == 0 || turn >= turnBytes) {
      cache_.release(job.slot);
      job.pinned = false;
    }
    if (job.sent < job.order.lengthBytes && (sent == 0 || turn >= turnBytes)) {
      waitForSocket(token, job);
      return;
    }
  }
  finish(token, job, SendOutcome::sent);
}

// False: the job waits for the socket, or has ended.
bool PageSender::sendHead(uint64_t token, Job& job) {
  std::string& head = job.order.head;
  const int socket = hand_.take(job.socket);
  const int64_t sent = socket < 0 ? -EBADF : sendBytes(socket, head, nullptr, 0, false);
  if (sent < 0) {
    finish(token, job, SendOutcome::gone);
    return false;
  }
  head.erase(0, static_cast<size_t>(sent));
  if (!head.empty()) waitForSocket(token, job);
  return head.empty();
}

// False: the job waits for the page, or in the queue.
bool PageSender::holdPage(uint64_t token, Job& job) {
  const StoredPage& page = job.order.pages[job.page];
  uint32_t slot;
  if (cache_.find(page.key, &slot)) {
    job.slot = slot;
    job.pinned = true;
    return true;
  }
  if (!freeLoads_.empty()) {
    switch (cache_.take(page.key, page.pairBytes, this, token, &slot)) {
      case PageCache::Taken::ready:
        job.slot = slot;
        job.pinned = true;
        return true;
      case PageCache::Taken::mine:
        job.waiting = true;
        startLoad(token, job, page, slot);
        return false;
      case PageCache::Taken::waiting:
        job.waiting = true;
        return false;
      case PageCache::Taken::full:
        break;
    }
  }
  job.queued = true;
  queue_.push_back(token);
  return false;
}

// Only what leaves reads for jobs whose first page is missing.
void PageSender::readAhead(uint64_t token, Job& job) {
  const size_t end = std::min(job.order.pages.size(), job.page + 1 + limits_.pagesAhead);
  job.ahead = std::max(job.ahead, job.page + 1);
  while (job.ahead < end && queue_.empty() && freeLoads_.size() > loads_.size() / 4) {
    const StoredPage& page = job.order.pages[job.ahead];
    uint32_t slot;
    const auto taken = cache_.take(page.key, page.pairBytes, nullptr, 0, &slot);
    if (taken == PageCache::Taken::full) return;
    if (taken == PageCache::Taken::mine) startLoad(token, job, page, slot);
    job.ahead++;
  }
}

void PageSender::startLoad(uint64_t token, Job& job, const StoredPage& page, uint32_t slot) {
  const uint32_t at = freeLoads_.back();
  freeLoads_.pop_back();
  Load& load = loads_[at];
  load.job = token;
  load.page = page;
  load.slot = slot;
  load.extent = 0;
  load.filled = 0;
  job.loads++;
  submitExtent(at);
}

void PageSender::submitExtent(uint32_t at) {
  const Load& load = loads_[at];
  if (stopping_.load(std::memory_order_relaxed)) {
    const DiskCompletion refused = {at, -ECANCELED};
    deliver(&refused, 1);
    return;
  }
  const StoredExtent& extent = load.page.extents[load.extent];
  const DiskOp op = {DiskOpKind::read, extent.fd, cache_.address(load.slot) + load.filled, extent.offset, extent.length};
  disk_->submit(&at, &op, 1);
}

void PageSender::finish(uint64_t token, Job& job, SendOutcome outcome) {
  if (job.ended) return;
  job.ended = true;
  job.outcome = outcome;
  if (job.pinned) cache_.release(job.slot);
  job.pinned = false;
  endIfIdle(token, job);
}

// The last word is said when no read of the job runs: the owner then gives up its hold on the file.
void PageSender::endIfIdle(uint64_t token, Job& job) {
  if (!job.ended || job.loads > 0) return;
  const uint64_t sent = job.sent;
  const SendOutcome outcome = job.outcome;
  jobs_.erase(token);
  cache_.jobs.fetch_sub(1, std::memory_order_relaxed);
  sink_.done(token, outcome, sent);
}

// The hand holds the socket. What another job of the connection has left in the set becomes this one's.
void PageSender::waitForSocket(uint64_t token, Job& job) {
  epoll_event event{};
  event.events = EPOLLOUT | EPOLLONESHOT;
  event.data.u64 = token;
  const int socket = hand_.take(job.socket);
  const bool set = epoll_ctl(epoll_, EPOLL_CTL_MOD, socket, &event) == 0 ||
                   (errno == ENOENT && epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event) == 0);
  if (set) job.polled = true;
  else finish(token, job, SendOutcome::gone);
}

void PageSender::retryQueued() {
  for (size_t left = queue_.size(); left > 0 && !freeLoads_.empty(); left--) {
    const uint64_t token = queue_.front();
    queue_.pop_front();
    const auto found = jobs_.find(token);
    if (found == jobs_.end()) continue;
    found->second->queued = false;
    if (!found->second->ended) advance(token, *found->second);
  }
}

void PageSender::cutStalled() {
  const int64_t now = nowMs();
  if (now - sweptMs_ < sweepMs) return;
  sweptMs_ = now;
  std::vector<uint64_t> late;
  for (const auto& one : jobs_) {
    const Job& job = *one.second;
    // What waits for a disk is late for another reason, and not cut.
    if (!job.ended && job.polled && !job.waiting && !job.queued && job.deadlineMs < now) late.push_back(one.first);
  }
  for (const uint64_t token : late) finish(token, *jobs_[token], SendOutcome::stalled);
}

}  // namespace primed
