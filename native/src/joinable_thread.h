// A thread that blocks all signals (they belong to the main thread) and can be waited for with a limit.
#pragma once
#include <pthread.h>
#include <signal.h>

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace primed {

class JoinableThread {
 public:
  // Returns 0 or a positive errno.
  int start(void (*run)(void*), void* argument) {
    run_ = run;
    argument_ = argument;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(&thread_, nullptr, main, this);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    started_ = error == 0;
    return error;
  }

  bool join(int limitMs) {
    if (!started_) return true;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      if (!done_.wait_for(lock, std::chrono::milliseconds(limitMs), [this] { return finished_; })) return false;
    }
    pthread_join(thread_, nullptr);
    started_ = false;
    return true;
  }

 private:
  static void* main(void* self) {
    auto* thread = static_cast<JoinableThread*>(self);
    thread->run_(thread->argument_);
    std::lock_guard<std::mutex> lock(thread->mutex_);
    thread->finished_ = true;
    thread->done_.notify_all();
    return nullptr;
  }

  pthread_t thread_{};
  bool started_ = false;
  bool finished_ = false;
  void (*run_)(void*) = nullptr;
  void* argument_ = nullptr;
  std::mutex mutex_;
  std::condition_variable done_;
};

}  // namespace primed
