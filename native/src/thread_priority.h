// Threads that run only where nothing else of the machine wants to: SCHED_IDLE, see sched(7). Unlike a niceness, any other thread
// that wakes up takes the core from one of these at once.
#pragma once

namespace primed {

// Of the calling thread, as the kernel knows it.
int threadId();

// 0, or errno: EPERM where the way back to the usual priority is not allowed (RLIMIT_NICE, CAP_SYS_NICE).
int setIdle(int thread, bool idle);

// Whether a thread of this process that was idle may come back; tried out by one that ends then. 0, or errno.
int mayComeBack();

}  // namespace primed
