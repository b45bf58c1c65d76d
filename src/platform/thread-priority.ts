/** Threads that run only while no other thread wants the core (SCHED_IDLE), and come back. */
import { addon } from './addon.ts';
import { errnoName } from './errno.ts';

/** As the kernel knows it; good in every thread of the process. */
export type ThreadId = number & { readonly __brand: 'ThreadId' };

/** Of the calling thread. */
export function threadId(): ThreadId {
  return addon().threadId() as ThreadId;
}

/** Whether a thread that has given way may come back, which RLIMIT_NICE and CAP_SYS_NICE decide: undefined, or the reason against it. */
export function mayYield(): { readonly refused: string | undefined } {
  const errno = addon().mayComeBack();
  return { refused: errno === 0 ? undefined : errnoName(errno) };
}

/** Returns the name of the error where it did not work: nothing has changed then. */
export function setYielding(thread: ThreadId, yields: boolean): string | undefined {
  const errno = addon().setIdle(thread, yields);
  return errno === 0 ? undefined : errnoName(errno);
}
