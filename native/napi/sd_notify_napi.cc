#include "../src/sd_notify.h"

#include "value.h"

namespace primed {
namespace {

// sdNotify(socketPath, state): 0, or errno
napi_value notifyCall(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  std::string path, state;
  if (!arguments.complete || !getString(env, arguments.at[0], &path) || !getString(env, arguments.at[1], &state)) {
    return nullptr;
  }
  return makeNumber(env, notifyServiceManager(path, state));
}

}  // namespace

napi_status addSdNotify(napi_env env, napi_value exports) { return addFunction(env, exports, "sdNotify", notifyCall); }

}  // namespace primed
