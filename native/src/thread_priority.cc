#include "thread_priority.h"

#include <errno.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <system_error>
#include <thread>

namespace primed {

int threadId() { return static_cast<int>(syscall(SYS_gettid)); }

int setIdle(int thread, bool idle) {
  const sched_param none{};
  return sched_setscheduler(thread, idle ? SCHED_IDLE : SCHED_OTHER, &none) == 0 ? 0 : errno;
}

int mayComeBack() {
  int error = 0;
  try {
    std::thread([&error] {
      const int self = threadId();
      error = setIdle(self, true);
      if (error == 0) error = setIdle(self, false);
    }).join();
  } catch (const std::system_error& failure) {
    error = failure.code().value();
  }
  return error;
}

}  // namespace primed
