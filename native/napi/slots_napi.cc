// The memory of slots: where a view lies, and asking the kernel for huge pages that are there already.
#include "../src/slots.h"
#include "value.h"

namespace primed {
namespace {

// addressOf(view): number. Of shared memory it never changes; of an ArrayBuffer it holds until the next transfer.
napi_value addressOfCall(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  void* data = nullptr;
  if (!arguments.complete) return nullptr;
  PRIMED_NAPI(napi_get_typedarray_info(env, arguments.at[0], nullptr, nullptr, &data, nullptr, nullptr));
  return makeNumber(env, static_cast<double>(reinterpret_cast<uintptr_t>(data)));
}

// prefault(address, length)
napi_value prefaultCall(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  double address, length;
  if (!arguments.complete || !getNumber(env, arguments.at[0], &address) || !getNumber(env, arguments.at[1], &length)) {
    return nullptr;
  }
  prefault(pointerFrom(address), static_cast<size_t>(length));
  return nullptr;
}

}  // namespace

napi_status addSlots(napi_env env, napi_value exports) {
  const napi_status status = addFunction(env, exports, "addressOf", addressOfCall);
  return status == napi_ok ? addFunction(env, exports, "prefault", prefaultCall) : status;
}

}  // namespace primed
