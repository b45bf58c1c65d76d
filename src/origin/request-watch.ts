/**
 * Who watches requests of the control plane: those who count them by origin, and a call (a page of a listing, a look) that wants to
 * know what it is waiting for, through whatever attempts are made for it.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { type OriginOperation, originOperations } from '../core/origin-use.ts';
import { causeOfStatus } from './failure.ts';
import { failureOfSdk } from './sdk-failure.ts';
import type { FailureCause } from './types.ts';

/** Of one origin. */
export interface RequestWatch {
  /** @param outcome.cause absent: it was answered with what was asked for */
  asked(
    operation: OriginOperation,
    outcome: { cause?: FailureCause | undefined; httpStatus?: number | undefined; firstByteMs: number },
  ): void;
  /** The next request of this operation is one more attempt. */
  retried(operation: OriginOperation): void;
}

/** What a call waits for. From an answer that says to slow down until its end it waits for the origin's throttling. */
export type CallWait = 'answer' | 'throttled-503' | 'throttled-429' | 'requests';

export interface WatchedCall {
  readonly waitsFor: CallWait;
  become(wait: CallWait): void;
}

const calls = new AsyncLocalStorage<WatchedCall>();

/** Whatever `act` asks of origins is asked for this call. */
export function watchedCall<T>(call: WatchedCall, act: () => Promise<T>): Promise<T> {
  return calls.run(call, act);
}

/** Waits for its turn under a limit of the operator. */
export async function heldBack(turn: Promise<void>): Promise<void> {
  const call = calls.getStore();
  const before = call?.waitsFor;
  call?.become('requests');
  try {
    await turn;
  } finally {
    if (before !== undefined) call?.become(before);
  }
}

export function throttledBy(httpStatus: number | undefined): CallWait {
  return httpStatus === 429 ? 'throttled-429' : 'throttled-503';
}

/** `ListObjectsV2Command`: LIST. */
export function operationOfCommand(name = ''): OriginOperation {
  if (name.startsWith('List')) return 'LIST';
  return name.startsWith('Head') ? 'HEAD' : 'GET';
}

/** Of a request that is passed through. */
export function operationOfMethod(method: string): OriginOperation {
  return originOperations.find((operation) => operation === method) ?? 'GET';
}

/** One attempt. @param statusOf of an answer, which may be a refusal */
export async function watchedRequest<T>(
  watch: RequestWatch | undefined,
  operation: OriginOperation,
  how: {
    readonly send: () => Promise<T>;
    readonly statusOf: (answer: T) => number | undefined;
    /** Of a request that was not answered: it was given up here. */
    readonly isOurs?: () => boolean;
  },
): Promise<T> {
  const { send, statusOf, isOurs = () => false } = how;
  const startedMs = performance.now();
  const ended = (cause: FailureCause | undefined, httpStatus: number | undefined): void => {
    if (cause === 'throttled') calls.getStore()?.become(throttledBy(httpStatus));
    watch?.asked(operation, { cause, httpStatus, firstByteMs: performance.now() - startedMs });
  };
  try {
    const answer = await send();
    const status = statusOf(answer);
    ended(status === undefined || status < 300 ? undefined : causeOfStatus(status), status);
    return answer;
  } catch (error) {
    if (!isOurs()) {
      const { cause, httpStatus } = failureOfSdk(error);
      ended(cause, httpStatus);
    }
    throw error;
  }
}
