/** The name of a thread, as `top -H`, `perf` and debuggers show it. */
import { addon } from './addon.ts';

/** Names the calling thread; the kernel keeps 15 bytes. */
export function nameThread(name: string): void {
  addon().nameThread(name);
}
