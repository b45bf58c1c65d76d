// Small helpers for the Node-API glue: arguments in, values out, one throw per broken call.
//
// The callers are the files of src/platform, which check types and bounds; what arrives wrong here is a defect, and
// is thrown as one.
#pragma once
#include <node_api.h>

#include <cstdint>
#include <string>

namespace primed {

#define PRIMED_NAPI(call)                                                        \
  do {                                                                           \
    if ((call) != napi_ok) {                                                     \
      napi_throw_error(env, "NATIVE_CALL", "native/: " #call " was refused");    \
      return nullptr;                                                            \
    }                                                                            \
  } while (0)

template <size_t count>
struct Arguments {
  napi_value at[count];
  bool complete;
  Arguments(napi_env env, napi_callback_info info) {
    size_t given = count;
    complete = napi_get_cb_info(env, info, &given, at, nullptr, nullptr) == napi_ok && given == count;
  }
};

// Addresses and sizes travel as doubles: exact up to 2^53, user space ends at 2^47 (2^56 only where asked for).
inline bool getNumber(napi_env env, napi_value value, double* result) {
  return napi_get_value_double(env, value, result) == napi_ok;
}
inline uint8_t* pointerFrom(double address) { return reinterpret_cast<uint8_t*>(static_cast<uintptr_t>(address)); }

inline napi_value makeNumber(napi_env env, double number) {
  napi_value result = nullptr;
  napi_create_double(env, number, &result);
  return result;
}

inline bool getString(napi_env env, napi_value value, std::string* result) {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, nullptr, 0, &length) != napi_ok) return false;
  result->resize(length + 1);
  if (napi_get_value_string_utf8(env, value, result->data(), length + 1, &length) != napi_ok) return false;
  result->resize(length);
  return true;
}

// One byte a character.
inline bool getLatin1(napi_env env, napi_value value, std::string* result) {
  size_t length = 0;
  if (napi_get_value_string_latin1(env, value, nullptr, 0, &length) != napi_ok) return false;
  result->resize(length + 1);
  if (napi_get_value_string_latin1(env, value, result->data(), length + 1, &length) != napi_ok) return false;
  result->resize(length);
  return true;
}

inline napi_status addFunction(napi_env env, napi_value exports, const char* name, napi_callback callback) {
  napi_value function;
  const napi_status status = napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function);
  return status == napi_ok ? napi_set_named_property(env, exports, name, function) : status;
}

napi_status addChecksums(napi_env env, napi_value exports);
napi_status addDiskQueue(napi_env env, napi_value exports);
napi_status addFiles(napi_env env, napi_value exports);
napi_status addSlots(napi_env env, napi_value exports);
napi_status addSdNotify(napi_env env, napi_value exports);
napi_status addThreadName(napi_env env, napi_value exports);
napi_status addThreadPriority(napi_env env, napi_value exports);
napi_status addPageSender(napi_env env, napi_value exports);

}  // namespace primed
