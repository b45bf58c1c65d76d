#include "../src/thread_priority.h"

#include "value.h"

namespace primed {
namespace {

// threadId()
napi_value idCall(napi_env env, napi_callback_info) { return makeNumber(env, threadId()); }

// setIdle(thread, idle): 0, or errno
napi_value setIdleCall(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  double thread = 0;
  bool idle = false;
  if (!arguments.complete || !getNumber(env, arguments.at[0], &thread) ||
      napi_get_value_bool(env, arguments.at[1], &idle) != napi_ok) {
    napi_throw_error(env, "NATIVE_CALL", "native/: setIdle takes the id of a thread, and whether it is to be idle");
    return nullptr;
  }
  return makeNumber(env, setIdle(static_cast<int>(thread), idle));
}

// mayComeBack(): 0, or errno
napi_value mayComeBackCall(napi_env env, napi_callback_info) { return makeNumber(env, mayComeBack()); }

}  // namespace

napi_status addThreadPriority(napi_env env, napi_value exports) {
  napi_status status = addFunction(env, exports, "threadId", idCall);
  if (status == napi_ok) status = addFunction(env, exports, "setIdle", setIdleCall);
  if (status == napi_ok) status = addFunction(env, exports, "mayComeBack", mayComeBackCall);
  return status;
}

}  // namespace primed
