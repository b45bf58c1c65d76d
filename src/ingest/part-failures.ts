/** What becomes of a part that a lane did not bring: it is tried again, set aside with its file, loaded anew, or given up. */
import type { PrimedError } from '../core/errors.ts';
import type { FileTeller } from '../core/file-events.ts';
import { decideRetry, type RetrySettings } from '../core/retry.ts';
import { isLost, isSilent, noSilence, setsAside, silenceAfter } from '../core/silence.ts';
import type { Log, Random } from '../core/types.ts';
import type { FailureCause } from '../origin/types.ts';
import { attemptAt } from './attempts.ts';
import type { Books } from './books.ts';
import { lostError, partError, peerError } from './failures.ts';
import type { Files } from './files.ts';
import type { Limits } from './limits.ts';
import type { OriginLinks } from './origin-links.ts';
import type { PeerReach } from './peer-links.ts';
import type { FailedPart } from './protocol.ts';
import { type FileTask, isStale, type PartTask, type Run } from './run.ts';
import type { WorkerObserver } from './types.ts';

/**
 * Of a part that is copied from another worker. There are other workers, and the origin: a busy one is waited for, a few
 * seconds altogether, one that fails is tried once more. What others of the same file have spent counts.
 */
const peerRetry: RetrySettings = {
  maxAttempts: 2,
  maxThrottledAttempts: 6,
  baseMs: 100,
  maxMs: 1_000,
  budgetRatio: 0.5,
  budgetFloor: 4,
};

/** Nobody answers there at all. */
const unreached: ReadonlySet<FailureCause> = new Set(['connect', 'connect-timeout']);

export interface PartFailuresOptions {
  readonly files: () => Files;
  readonly links: OriginLinks;
  readonly limits: Limits;
  readonly books: Books;
  readonly log: Log;
  readonly random: Random;
  readonly retry: RetrySettings;
  readonly reach: PeerReach;
  readonly observe: WorkerObserver;
  readonly tell: FileTeller;
  /** A part is queued again. */
  readonly schedule: () => void;
}

export class PartFailures {
  readonly #options: PartFailuresOptions;

  constructor(options: PartFailuresOptions) {
    this.#options = options;
  }

  /** Tried again, set aside, loaded anew, or given up; what it has received is booked. */
  failed(run: Run, part: PartTask, failed: FailedPart): void {
    const { failure, receivedBytes } = failed;
    const { file } = part;
    const { cause } = failure;
    if (receivedBytes > 0) {
      const reason = cause === 'cancelled' ? 'stopped' : cause === 'changed' ? 'changed' : 'failed';
      this.#options.books.discard(run, reason, receivedBytes);
    }
    if (file.peer === undefined) {
      if (cause === 'throttled') this.#options.limits.slowDown(failure);
      if (cause === 'expired') this.#options.links.expired(file.originIndex);
    }
    if (run.stopping || isStale(part)) {
      this.#options.files().partEnded(run, part);
      return;
    }
    if (file.peer !== undefined) {
      this.#notCopied(run, part, file.peer, failed);
      return;
    }
    if (cause === 'changed') {
      this.#tell(run, part, failed, { next: 'loaded-anew' });
      file.changed = true;
      this.#options.files().partEnded(run, part);
      return;
    }
    const silence = run.silence.get(file.originIndex) ?? noSilence;
    if (file.setAside || (file.hasty && setsAside(cause, silence))) {
      run.silence.set(file.originIndex, silenceAfter(silence, { cause }));
      this.#setAside(run, part, failed);
      return;
    }
    const { retry, random, observe } = this.#options;
    const asked = { cause, attempt: part.attempt, retryAfterMs: failure.retryAfterMs };
    const decision = decideRetry(asked, retry, run.budget, random);
    const heard = silenceAfter(silence, { cause, givenUp: !decision.retry });
    run.silence.set(file.originIndex, heard);
    if (!decision.retry) {
      this.#tell(run, part, failed, { next: 'given-up' });
      const error = partError(file.entry.path, part.range, failure, part.attempt, decision.why);
      if (isLost(heard) && run.lost === undefined) {
        run.lost = lostError(this.#options.links.nameOf(file.originIndex), heard.givenUp, error);
        this.#options.files().giveUpAll(run, run.lost);
      }
      this.giveUp(run, part, error);
      return;
    }
    // setting files aside has not helped: there is nothing to make way for
    if (isSilent(cause)) file.hasty = false;
    observe.retried(cause);
    this.#tryAgain(run, part, failed, decision.delayMs);
  }

  /** The file ends for it. */
  giveUp(run: Run, part: PartTask, error: PrimedError): void {
    part.file.error ??= error;
    this.#options.files().partEnded(run, part);
  }

  /**
   * What another worker does not give says nothing of the origin: neither of its silence, nor whether the object changed. So
   * it ends the file soon, whatever it is, and somebody else is asked.
   */
  #notCopied(run: Run, part: PartTask, peer: NonNullable<FileTask['peer']>, failed: FailedPart): void {
    const { failure } = failed;
    const { attempt: attempts, range, file } = part;
    const { cause, retryAfterMs, s3Code } = failure;
    if (s3Code === 'STORE_CORRUPT') {
      this.#tell(run, part, failed, { next: 'given-up' });
      this.giveUp(run, part, peerError(file.entry.path, { url: peer.url, range, failure, attempts }));
      return;
    }
    const decision = decideRetry(
      { cause, attempt: attempts, retryAfterMs },
      peerRetry,
      peer.budget,
      this.#options.random,
    );
    if (decision.retry) {
      this.#tryAgain(run, part, failed, decision.delayMs);
      return;
    }
    this.#tell(run, part, failed, { next: 'given-up' });
    const error = peerError(file.entry.path, { url: peer.url, range, failure, attempts });
    if (unreached.has(cause)) {
      const { reach } = this.#options;
      reach.failed(peer.url, failure.message);
      if (reach.avoids(peer.url)) this.#options.files().giveUpFrom(run, peer.url, file);
    }
    this.giveUp(run, part, error);
  }

  /** The rest of the file is asked for when nothing else is left (see core/silence). */
  #setAside(run: Run, part: PartTask, failed: FailedPart): void {
    const { file } = part;
    const { failure } = failed;
    this.#tell(run, part, failed, { next: 'set-aside' });
    if (!file.setAside) {
      file.setAside = true;
      run.retries += 1;
      this.#options.observe.retried(failure.cause);
      const facts = { jobId: run.spec.job, path: file.entry.path, offset: part.range.offset, ...failure };
      this.#options.log.debug(facts, 'a file is silent, and set aside');
    }
    this.#options.files().partEnded(run, part);
  }

  #tryAgain(run: Run, part: PartTask, failed: FailedPart, delayMs: number): void {
    const { file, range, attempt } = part;
    const { failure } = failed;
    this.#tell(run, part, failed, { next: 'again', delayMs: Math.round(delayMs) });
    run.retries += 1;
    const facts = { jobId: run.spec.job, path: file.entry.path, offset: range.offset, attempt, delayMs, ...failure };
    this.#options.log.debug(facts, 'a part failed and will be tried again');
    const kind = file.peer !== undefined ? 'copying' : failure.cause === 'throttled' ? 'throttled' : 'failed';
    run.retrying[kind] += 1;
    const timer = setTimeout(() => {
      run.retryTimers.delete(timer);
      run.retrying[kind] -= 1;
      run.queueOf(file).parts.pushFront({ ...part, attempt: attempt + 1 });
      this.#options.schedule();
    }, delayMs);
    run.retryTimers.add(timer);
  }

  #tell(
    run: Run,
    part: PartTask,
    { failure, durationMs }: Pick<FailedPart, 'failure' | 'durationMs'>,
    then: { next: 'again' | 'given-up' | 'set-aside' | 'loaded-anew'; delayMs?: number },
  ): void {
    part.file.troubled = true;
    const { cause: result, message, httpStatus, s3Code, requestId } = failure;
    const said = { result, message, httpStatus, s3Code, requestId, durationMs, ...then };
    this.#options.tell.happened(attemptAt(run, part, said));
  }
}
