// The page cache and senders for JavaScript. A cache is known by its address, because every serving thread has to name
// the one of the process; a sender belongs to the thread that opened it.
//
//   Float64Array words, for each page:  | file | page | bytes | bytes of its frame | CRC32C | extents n | n x (fd | offset | length) |
//
// Jobs end on the sender's thread, are gathered in `done_`, and wake the event loop once a batch.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <vector>

#include "../src/listen.h"
#include "../src/page_sender.h"
#include "value.h"

namespace primed {
namespace {

// A disk that has not answered for this long will not; memory it may still write to must not be freed.
constexpr int teardownLimitMs = 60'000;
constexpr int pageWords = 6;
constexpr int extentWords = 3;

class SenderBinding final : public SenderSink {
 public:
  SenderBinding(PageCache& pages, const SenderLimits& limits) : cache(pages), sender(pages, *this, limits) {}

  void done(uint64_t token, SendOutcome outcome, uint64_t sentBytes) override {
    std::lock_guard<std::mutex> lock(mutex_);
    done_.push_back({token, outcome, sentBytes});
    if (scheduled_ || muted_) return;
    scheduled_ = true;
    napi_call_threadsafe_function(wakeUp_, nullptr, napi_tsfn_nonblocking);
  }

  napi_status bind(napi_env env, napi_value callback) {
    napi_value name;
    napi_status status = napi_create_string_utf8(env, "primed.sender", NAPI_AUTO_LENGTH, &name);
    if (status == napi_ok) {
      status = napi_create_threadsafe_function(env, callback, nullptr, name, 0, 1, this, onFinalize, this, onWake, &wakeUp_);
    }
    if (status == napi_ok) status = napi_unref_threadsafe_function(env, wakeUp_);
    return status;
  }

  // Ends everything; what comes after it is nothing.
  void close() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      muted_ = true;
    }
    if (!sender.close(teardownLimitMs)) {
      fprintf(stderr,
              "primed: a read of a store is still unanswered after %d s. The memory it uses cannot be released safely; the "
              "process ends here. Look for a hung device in the kernel log.\n",
              teardownLimitMs / 1000);
      abort();
    }
    napi_release_threadsafe_function(wakeUp_, napi_tsfn_release);
  }

  static void onTeardown(void* self) { static_cast<SenderBinding*>(self)->close(); }

  PageCache& cache;
  PageSender sender;

 private:
  struct Done {
    uint64_t token;
    SendOutcome outcome;
    uint64_t sentBytes;
  };

  static void onFinalize(napi_env, void* self, void*) { delete static_cast<SenderBinding*>(self); }

  static void onWake(napi_env env, napi_value callback, void* context, void*) {
    if (env != nullptr) static_cast<SenderBinding*>(context)->drain(env, callback);
  }

  void drain(napi_env env, napi_value callback) {
    std::vector<Done> done;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      done.swap(done_);
      scheduled_ = false;
    }
    napi_value global;
    napi_get_global(env, &global);
    for (const Done& one : done) {
      napi_value arguments[3] = {makeNumber(env, static_cast<double>(one.token)),
                                 makeNumber(env, static_cast<double>(one.outcome)),
                                 makeNumber(env, static_cast<double>(one.sentBytes))};
      if (napi_call_function(env, global, callback, 3, arguments, nullptr) == napi_ok) continue;
      bool pending = false;
      napi_is_exception_pending(env, &pending);
      if (!pending) continue;
      napi_value error;
      napi_get_and_clear_last_exception(env, &error);
      napi_fatal_exception(env, error);  // 'uncaughtException', as for any callback of Node's own
    }
  }

  napi_threadsafe_function wakeUp_ = nullptr;
  std::mutex mutex_;
  std::vector<Done> done_;
  bool scheduled_ = false;
  bool muted_ = false;
};

PageCache* cacheAt(napi_env env, napi_value address) {
  double number;
  return getNumber(env, address, &number) ? reinterpret_cast<PageCache*>(pointerFrom(number)) : nullptr;
}

SenderBinding* senderOf(napi_env env, napi_value handle) {
  void* sender = nullptr;
  return napi_get_value_external(env, handle, &sender) == napi_ok ? static_cast<SenderBinding*>(sender) : nullptr;
}

// False, with an exception: the words do not hold what they say.
bool readPages(napi_env env, napi_value words, napi_value count, std::vector<StoredPage>* pages) {
  void* data;
  size_t length;
  uint32_t used;
  if (napi_get_typedarray_info(env, words, nullptr, &length, &data, nullptr, nullptr) != napi_ok ||
      napi_get_value_uint32(env, count, &used) != napi_ok)
    return false;
  const auto* word = static_cast<const double*>(data);
  bool whole = used <= length;
  for (size_t at = 0; whole && at < used;) {
    whole = at + pageWords <= used;
    if (!whole) break;
    StoredPage page;
    page.key = {static_cast<uint64_t>(word[at]), static_cast<uint32_t>(word[at + 1])};
    page.lengthBytes = static_cast<uint32_t>(word[at + 2]);
    page.pairBytes = static_cast<uint32_t>(word[at + 3]);
    page.checksum = static_cast<uint32_t>(word[at + 4]);
    const auto extents = static_cast<size_t>(word[at + 5]);
    at += pageWords;
    whole = extents > 0 && extents <= (used - at) / extentWords && page.lengthBytes <= cachePageBytes &&
            page.pairBytes <= frameBytes && page.pairBytes >= page.lengthBytes;
    if (!whole) break;
    uint64_t total = 0;
    for (size_t i = 0; i < extents; i++, at += extentWords) {
      page.extents.push_back({static_cast<int>(word[at]), static_cast<uint64_t>(word[at + 1]),
                              static_cast<uint32_t>(word[at + 2])});
      total += static_cast<uint64_t>(word[at + 2]);
    }
    whole = total >= page.lengthBytes && total <= cachePageBytes;
    pages->push_back(std::move(page));
  }
  if (!whole) napi_throw_range_error(env, "NATIVE_CALL", "native/: the words of pages do not hold what they say");
  return whole;
}

// pageCacheOpen(capacityBytes): its address, or -errno
napi_value cacheOpenCall(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  double bytes;
  if (!arguments.complete || !getNumber(env, arguments.at[0], &bytes)) return nullptr;
  auto cache = std::make_unique<PageCache>(static_cast<uint64_t>(bytes));
  const int error = cache->open();
  if (error != 0) return makeNumber(env, -error);
  return makeNumber(env, static_cast<double>(reinterpret_cast<uintptr_t>(cache.release())));
}

// pageCacheClose(address): when no thread has a sender any more
napi_value cacheCloseCall(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  if (arguments.complete) delete cacheAt(env, arguments.at[0]);
  return nullptr;
}

// pageCacheUsed(address): bytes
napi_value cacheUsedCall(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  PageCache* cache = arguments.complete ? cacheAt(env, arguments.at[0]) : nullptr;
  return cache == nullptr ? nullptr : makeNumber(env, static_cast<double>(cache->usedBytes()));
}

// senderOpen(cache, engine, loads, pagesAhead, stallMs, callback): a handle, or -errno. callback(token, outcome, sentBytes)
napi_value openCall(napi_env env, napi_callback_info info) {
  const Arguments<6> arguments(env, info);
  std::string engine;
  SenderLimits limits;
  int32_t stallMs;
  PageCache* cache = arguments.complete ? cacheAt(env, arguments.at[0]) : nullptr;
  if (cache == nullptr || !getString(env, arguments.at[1], &engine)) return nullptr;
  PRIMED_NAPI(napi_get_value_uint32(env, arguments.at[2], &limits.loads));
  PRIMED_NAPI(napi_get_value_uint32(env, arguments.at[3], &limits.pagesAhead));
  PRIMED_NAPI(napi_get_value_int32(env, arguments.at[4], &stallMs));
  limits.stallMs = stallMs;
  if (limits.loads == 0 || limits.loads > maxQueueDepth) {
    napi_throw_range_error(env, "NATIVE_CALL", "native/: a sender has to have loads");
    return nullptr;
  }
  auto binding = std::make_unique<SenderBinding>(*cache, limits);
  const int error = binding->sender.open(engine == "io_uring");
  if (error != 0) return makeNumber(env, -error);
  SenderBinding* self = binding.release();
  napi_value handle;
  if (self->bind(env, arguments.at[5]) != napi_ok ||
      napi_create_external(env, self, nullptr, nullptr, &handle) != napi_ok ||
      napi_add_env_cleanup_hook(env, SenderBinding::onTeardown, self) != napi_ok) {
    napi_throw_error(env, "NATIVE_CALL", "native/: the sender could not be bound to this environment");
    return nullptr;
  }
  return handle;
}

// senderSend(handle, token, socket, head, words, count, skipBytes, lengthBytes, inlineBytes, copied): bytes behind the head that the
// socket took at once; with fewer than lengthBytes the callback is called. -errno: nothing more is sent.
napi_value sendCall(napi_env env, napi_callback_info info) {
  const Arguments<10> arguments(env, info);
  SenderBinding* self = arguments.complete ? senderOf(env, arguments.at[0]) : nullptr;
  double token, skip, length, atOnce;
  int32_t socket;
  if (self == nullptr || !getNumber(env, arguments.at[1], &token) || !getNumber(env, arguments.at[6], &skip) ||
      !getNumber(env, arguments.at[7], &length) || !getNumber(env, arguments.at[8], &atOnce))
    return nullptr;
  PRIMED_NAPI(napi_get_value_int32(env, arguments.at[2], &socket));
  SendOrder order;
  order.token = static_cast<uint64_t>(token);
  order.socket = socket;
  order.skipBytes = static_cast<uint32_t>(skip);
  order.lengthBytes = static_cast<uint64_t>(length);
  PRIMED_NAPI(napi_get_value_bool(env, arguments.at[9], &order.copied));
  if (!getLatin1(env, arguments.at[3], &order.head)) return nullptr;
  if (!readPages(env, arguments.at[4], arguments.at[5], &order.pages)) return nullptr;
  if (order.pages.empty()) {
    napi_throw_range_error(env, "NATIVE_CALL", "native/: an order has no pages");
    return nullptr;
  }
  int64_t sent = 0;
  if (socket >= 0) {
    if (self->sender.isCrowded()) self->sender.limitUnsent(socket);
    // A new answer: what is lent is what one leaves, however many the client has asked for ahead.
    if (!order.copied && !order.head.empty()) order.copied = owes(socket);
    sent = trySend(self->cache, order, static_cast<uint64_t>(atOnce));
    if (sent < 0) return makeNumber(env, static_cast<double>(sent));
    const auto ofHead = std::min(static_cast<size_t>(sent), order.head.size());
    order.head.erase(0, ofHead);
    sent -= static_cast<int64_t>(ofHead);
    if (static_cast<uint64_t>(sent) == order.lengthBytes) return makeNumber(env, length);
    self->sender.limitUnsent(socket);
    order.lengthBytes -= static_cast<uint64_t>(sent);
    uint64_t from = order.skipBytes + static_cast<uint64_t>(sent);
    size_t whole = 0;
    while (whole < order.pages.size() && from >= order.pages[whole].lengthBytes) from -= order.pages[whole++].lengthBytes;
    order.pages.erase(order.pages.begin(), order.pages.begin() + static_cast<ptrdiff_t>(whole));
    order.skipBytes = static_cast<uint32_t>(from);
  }
  uint64_t there = 0;
  for (const StoredPage& page : order.pages) there += page.lengthBytes;
  if (there < order.skipBytes + order.lengthBytes) {
    napi_throw_range_error(env, "NATIVE_CALL", "native/: the pages of an order end before it does");
    return nullptr;
  }
  const int error = self->sender.start(std::move(order));
  return makeNumber(env, error == 0 ? static_cast<double>(sent) : -error);
}

// senderHas(handle, file, page): whether it is cached
napi_value hasCall(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  SenderBinding* self = arguments.complete ? senderOf(env, arguments.at[0]) : nullptr;
  double file, page;
  if (self == nullptr || !getNumber(env, arguments.at[1], &file) || !getNumber(env, arguments.at[2], &page)) return nullptr;
  uint32_t slot;
  const bool has = self->cache.find({static_cast<uint64_t>(file), static_cast<uint32_t>(page)}, &slot);
  if (has) self->cache.release(slot);
  napi_value result;
  PRIMED_NAPI(napi_get_boolean(env, has, &result));
  return result;
}

// senderCopy(handle, words, count, skipBytes, lengthBytes, target): whether all of it was cached
napi_value copyCall(napi_env env, napi_callback_info info) {
  const Arguments<6> arguments(env, info);
  SenderBinding* self = arguments.complete ? senderOf(env, arguments.at[0]) : nullptr;
  double skip, length;
  void* target;
  size_t room;
  if (self == nullptr || !getNumber(env, arguments.at[3], &skip) || !getNumber(env, arguments.at[4], &length)) return nullptr;
  PRIMED_NAPI(napi_get_typedarray_info(env, arguments.at[5], nullptr, &room, &target, nullptr, nullptr));
  std::vector<StoredPage> pages;
  if (room < length) {
    napi_throw_range_error(env, "NATIVE_CALL", "native/: what is copied does not fit");
    return nullptr;
  }
  if (!readPages(env, arguments.at[1], arguments.at[2], &pages)) return nullptr;
  const bool copied = tryCopy(self->cache, pages, static_cast<uint32_t>(skip), static_cast<uint64_t>(length),
                              static_cast<uint8_t*>(target));
  napi_value result;
  PRIMED_NAPI(napi_get_boolean(env, copied, &result));
  return result;
}

// senderCancel(handle, token)
napi_value cancelCall(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  SenderBinding* self = arguments.complete ? senderOf(env, arguments.at[0]) : nullptr;
  double token;
  if (self != nullptr && getNumber(env, arguments.at[1], &token)) self->sender.cancel(static_cast<uint64_t>(token));
  return nullptr;
}

// senderReadBytes(handle): bytes read from stores
napi_value readBytesCall(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  SenderBinding* self = arguments.complete ? senderOf(env, arguments.at[0]) : nullptr;
  return self == nullptr ? nullptr : makeNumber(env, static_cast<double>(self->sender.readBytes()));
}

// senderClose(handle): the handle is dead after it
napi_value closeCall(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  SenderBinding* self = arguments.complete ? senderOf(env, arguments.at[0]) : nullptr;
  if (self == nullptr) return nullptr;
  napi_remove_env_cleanup_hook(env, SenderBinding::onTeardown, self);
  self->close();
  return nullptr;
}

// listenOn(address, port, shared, backlog): a descriptor, or -errno
napi_value listenCall(napi_env env, napi_callback_info info) {
  const Arguments<4> arguments(env, info);
  std::string address;
  uint32_t port;
  bool shared;
  int32_t backlog;
  if (!arguments.complete || !getString(env, arguments.at[0], &address)) return nullptr;
  PRIMED_NAPI(napi_get_value_uint32(env, arguments.at[1], &port));
  PRIMED_NAPI(napi_get_value_bool(env, arguments.at[2], &shared));
  PRIMED_NAPI(napi_get_value_int32(env, arguments.at[3], &backlog));
  return makeNumber(env, listenOn(address.c_str(), static_cast<uint16_t>(port), shared, backlog));
}

// socketPort(fd): its port, or -errno
napi_value portCall(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  int32_t fd;
  if (!arguments.complete) return nullptr;
  PRIMED_NAPI(napi_get_value_int32(env, arguments.at[0], &fd));
  return makeNumber(env, portOf(fd));
}

}  // namespace

napi_status addPageSender(napi_env env, napi_value exports) {
  const struct {
    const char* name;
    napi_callback call;
  } functions[] = {{"pageCacheOpen", cacheOpenCall}, {"pageCacheClose", cacheCloseCall}, {"pageCacheUsed", cacheUsedCall},
                   {"senderOpen", openCall},         {"senderSend", sendCall},           {"senderCopy", copyCall},
                   {"senderCancel", cancelCall},     {"senderReadBytes", readBytesCall}, {"senderClose", closeCall},
                   {"listenOn", listenCall},         {"socketPort", portCall},           {"senderHas", hasCall}};
  for (const auto& one : functions) {
    const napi_status status = addFunction(env, exports, one.name, one.call);
    if (status != napi_ok) return status;
  }
  return napi_ok;
}

}  // namespace primed
