// The module: one function of each capability adds its exports. Nothing is global to the process, so that the main
// thread and every worker thread have the addon for themselves.
#include "value.h"

NAPI_MODULE_INIT() {
  using namespace primed;
  for (const auto add : {addChecksums, addDiskQueue, addFiles, addPageSender, addSdNotify, addSlots, addThreadName,
                         addThreadPriority})
    PRIMED_NAPI(add(env, exports));
  return exports;
}
