// File calls for JavaScript. fallocate can take long (tmpfs clears every page), so it runs on the pool.
#include "../src/files.h"
#include "value.h"

namespace primed {
namespace {

struct Allocation {
  int fd;
  uint64_t length;
  int error = 0;
  napi_async_work work = nullptr;
  napi_deferred deferred = nullptr;
};

// allocateBlocks(fd, length): Promise<0 | errno>
napi_value allocateCall(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  int32_t fd;
  double length;
  if (!arguments.complete || !getNumber(env, arguments.at[1], &length)) return nullptr;
  PRIMED_NAPI(napi_get_value_int32(env, arguments.at[0], &fd));
  napi_value promise, name;
  auto* allocation = new Allocation{fd, static_cast<uint64_t>(length)};
  const auto execute = [](napi_env, void* data) {
    auto* self = static_cast<Allocation*>(data);
    self->error = allocateBlocks(self->fd, self->length);
  };
  const auto complete = [](napi_env doneEnv, napi_status, void* data) {
    auto* self = static_cast<Allocation*>(data);
    napi_resolve_deferred(doneEnv, self->deferred, makeNumber(doneEnv, self->error));
    napi_delete_async_work(doneEnv, self->work);
    delete self;
  };
  if (napi_create_promise(env, &allocation->deferred, &promise) != napi_ok ||
      napi_create_string_utf8(env, "primed.allocate", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_async_work(env, nullptr, name, execute, complete, allocation, &allocation->work) != napi_ok ||
      napi_queue_async_work(env, allocation->work) != napi_ok) {
    delete allocation;
    napi_throw_error(env, "NATIVE_CALL", "native/: the allocation could not be queued");
    return nullptr;
  }
  return promise;
}

// supportsDirect(fd): boolean, or errno
napi_value supportsDirectCall(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  int32_t fd;
  if (!arguments.complete) return nullptr;
  PRIMED_NAPI(napi_get_value_int32(env, arguments.at[0], &fd));
  bool direct = false;
  const int error = supportsDirect(fd, &direct);
  if (error != 0) return makeNumber(env, error);
  napi_value result;
  PRIMED_NAPI(napi_get_boolean(env, direct, &result));
  return result;
}

// lockExclusive(fd): 0, or errno
napi_value lockCall(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  int32_t fd;
  if (!arguments.complete) return nullptr;
  PRIMED_NAPI(napi_get_value_int32(env, arguments.at[0], &fd));
  return makeNumber(env, lockExclusive(fd));
}

// releaseMapped(path): 0, or errno
napi_value releaseCall(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  std::string path;
  if (!arguments.complete || !getString(env, arguments.at[0], &path)) return nullptr;
  return makeNumber(env, releaseMapped(path.c_str()));
}

}  // namespace

napi_status addFiles(napi_env env, napi_value exports) {
  napi_status status = addFunction(env, exports, "allocateBlocks", allocateCall);
  if (status == napi_ok) status = addFunction(env, exports, "supportsDirect", supportsDirectCall);
  if (status == napi_ok) status = addFunction(env, exports, "lockExclusive", lockCall);
  if (status == napi_ok) status = addFunction(env, exports, "releaseMapped", releaseCall);
  return status;
}

}  // namespace primed
