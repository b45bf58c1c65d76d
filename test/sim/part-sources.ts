/** Where a simulated worker has the bytes of a part from: the origin, with the real decisions about retries and silence, or another worker. */
import type { PrimedError } from '../../src/core/errors.ts';
import { decideRetry, defaultRetry, type RetrySettings } from '../../src/core/retry.ts';
import { isLost, isSilent, noSilence, setsAside, silenceAfter } from '../../src/core/silence.ts';
import type { ByteRange, ManifestEntry } from '../../src/core/types.ts';
import { pageBytes } from '../../src/core/units.ts';
import { lostError, partError, peerError } from '../../src/ingest/failures.ts';
import type { FailureCause } from '../../src/origin/types.ts';
import { bytesOfPages } from '../support/store-model.ts';
import type { SimWorkerOptions } from './worker.ts';
import type { FileTask, Run, Waits } from './worker-run.ts';
import { here, type World } from './world.ts';

export type PartEnd = 'landed' | 'changed' | 'later' | 'dropped' | { readonly error: PrimedError };

const retry: RetrySettings = { ...defaultRetry, maxAttempts: 5, baseMs: 50, maxMs: 1000 };
/** A request that nobody answers. */
const silentMs = 4000;
const hastySilentMs = 600;

export class PartSources {
  readonly #options: SimWorkerOptions;
  readonly #waits: Waits;
  readonly #world: World = here();

  constructor(options: SimWorkerOptions, waits: Waits) {
    this.#options = options;
    this.#waits = waits;
  }

  async fromOrigin(run: Run, file: FileTask, pages: readonly number[], bytes: number): Promise<PartEnd> {
    const { bucket } = this.#options;
    const { entry } = file;
    const range = { offset: pages[0]! * pageBytes, length: bytes };
    for (let attempt = 1; ; attempt += 1) {
      if (run.stopping) return 'dropped';
      if (run.lost !== undefined) return { error: run.lost };
      await this.#waits.pause(run, bucket.latencyMs());
      // Stopped while it was asked for: the request was cancelled.
      if (run.stopping) return 'dropped';
      this.#options.onFetch(run.spec, entry, range);
      const answer = bucket.get(run.spec.run, entry, range.offset, range.length);
      if (answer.result === 'bytes') {
        run.silence = noSilence;
        run.budget.succeeded += 1;
        return 'landed';
      }
      const { cause } = answer;
      if (isSilent(cause)) await this.#waits.pause(run, file.hasty ? hastySilentMs : silentMs);
      if (cause === 'changed') return 'changed';
      if (file.hasty && setsAside(cause, run.silence)) {
        run.silence = silenceAfter(run.silence, { cause });
        return 'later';
      }
      const decision = decideRetry({ cause, attempt }, retry, run.budget, this.#world.random);
      run.silence = silenceAfter(run.silence, { cause, givenUp: !decision.retry });
      if (!decision.retry) {
        const failure = { cause, message: `the origin answered ${cause}` };
        const error = partError(entry.path, range, failure, attempt, decision.why);
        if (isLost(run.silence)) {
          run.lost ??= lostError('s3://b', 16, error);
          return { error: run.lost };
        }
        return { error };
      }
      run.retries += 1;
      await this.#waits.pause(run, decision.delayMs);
    }
  }

  async fromPeer(run: Run, file: FileTask, url: string, pages: readonly number[], bytes: number): Promise<PartEnd> {
    const range = { offset: pages[0]! * pageBytes, length: bytes };
    for (let attempt = 1; ; attempt += 1) {
      if (run.stopping) return 'dropped';
      const given = await this.#peerGives(run, url, file.entry, range);
      if (run.stopping) return 'dropped';
      if (given === 'bytes') return 'landed';
      if (attempt === 2) {
        const failure = { cause: given, message: `${given} of ${url}` };
        return { error: peerError(file.entry.path, { url, range, failure, attempts: attempt }) };
      }
      await this.#waits.pause(run, this.#world.between(50, 200));
    }
  }

  /** Undefined: the other worker has these pages durable. */
  async followed(run: Run, file: FileTask, url: string, pages: readonly number[]): Promise<PartEnd | undefined> {
    const { entry, range: segment } = file;
    const range = { offset: pages[0]! * pageBytes, length: bytesOfPages(entry, pages) };
    for (let looks = 0; ; looks += 1) {
      if (run.stopping) return 'dropped';
      const given = await this.#peerGives(run, url, entry, range);
      if (run.stopping) return 'dropped';
      if (given === 'bytes') return undefined;
      const loads =
        given === 'missing' &&
        (await Promise.race([
          this.#options.askPeer(url, (worker) => worker.isLoading(entry, segment)).catch(() => false),
          this.#waits.pause(run, 1500).then(() => false),
        ]));
      if (!loads && (given !== 'missing' || looks > 10)) {
        const failure = { cause: given, message: `${given} of ${url}` };
        return { error: peerError(entry.path, { url, range, failure, attempts: looks }) };
      }
      await this.#waits.pause(run, this.#world.between(20, 100) * Math.min(looks + 1, 10));
    }
  }

  async #peerGives(run: Run, url: string, entry: ManifestEntry, range: ByteRange): Promise<'bytes' | FailureCause> {
    const late = this.#waits.pause(run, 1500).then((): FailureCause => 'first-byte-timeout');
    const given = this.#options
      .askPeer(url, ({ store }) => store.has(entry, range))
      .then(
        (has): 'bytes' | FailureCause => (has ? 'bytes' : 'missing'),
        (): FailureCause => 'connect',
      );
    return Promise.race([given, late]);
  }
}
