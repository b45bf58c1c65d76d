#include "../src/thread_name.h"

#include "value.h"

namespace primed {
namespace {

// nameThread(name)
napi_value nameCall(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  std::string name;
  if (arguments.complete && getString(env, arguments.at[0], &name)) nameThread(name);
  return nullptr;
}

}  // namespace

napi_status addThreadName(napi_env env, napi_value exports) { return addFunction(env, exports, "nameThread", nameCall); }

}  // namespace primed
