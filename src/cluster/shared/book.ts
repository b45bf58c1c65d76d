/**
 * What is written about shared jobs: each change is one transaction, which fails where something else was true than its
 * author thought. So it does not matter how old that was.
 */
import { randomUUID } from 'node:crypto';
import { PrimedError } from '../../core/errors.ts';
import type { JobSnapshot } from '../../core/job.ts';
import { isEnded } from '../../core/job-machine.ts';
import type { Compare, Etcd, Lease, Operation, OperationResult, Revision } from '../etcd/types.ts';
import type { SharedKeys } from './keys.ts';
import type { WatchedClaim, WatchedJob } from './mirror.ts';
import {
  decodeShared,
  encodeBandwidth,
  encodeClaim,
  encodeDefinition,
  encodeState,
  type SharedClaim,
  type SharedDefinition,
  type SharedJob,
  type SharedState,
} from './records.ts';

export interface BookOptions {
  readonly etcd: Pick<Etcd, 'txn'>;
  readonly keys: SharedKeys;
  /** This coordinator. */
  readonly me: string;
  readonly url: string;
}

export class Book {
  readonly #options: BookOptions;

  constructor(options: BookOptions) {
    this.#options = options;
  }

  /**
   * A new job, claimed by this coordinator. False: another job has begun since `order`, or there is one of this key that has
   * not ended. `revision` is the number of the job, else that of what was not known. Throws REQUEST_INVALID.
   */
  async begin(
    definition: SharedDefinition['definition'],
    snapshot: JobSnapshot,
    { lease, order }: { lease: Lease; order: Revision },
  ): Promise<{ begun: boolean; revision: Revision }> {
    const { keys } = this.#options;
    const { jobId, key } = definition;
    const claimId = randomUUID();
    const { succeeded, revision, results } = await this.#write(
      [
        { key: keys.order, modRevision: order },
        { key: keys.active(key), exists: false },
      ],
      [
        { put: keys.order, value: jobId },
        { put: keys.job(jobId), value: encodeDefinition(definition) },
        { put: keys.state(jobId), value: encodeState({ claimId, repairs: false, snapshot }) },
        { put: keys.active(key), value: jobId },
        this.#claim(jobId, { id: claimId }, lease),
      ],
      [{ get: keys.order }, { get: keys.active(key) }],
    );
    return { begun: succeeded, revision: succeeded ? revision : newestOf(results) };
  }

  /** Who has heard of this revision knows every job that has begun by now. */
  async lastBegun(): Promise<Revision> {
    return newestOf((await this.#write([], [{ get: this.#options.keys.order }])).results);
  }

  /** False: somebody else was faster, or the job has changed. */
  async claim(job: WatchedJob, lease: Lease): Promise<boolean> {
    const { keys } = this.#options;
    const { jobId } = job.definition;
    const claimId = randomUUID();
    const { succeeded } = await this.#write(
      [
        { key: keys.claim(jobId), exists: false },
        { key: keys.state(jobId), modRevision: job.stateRevision },
      ],
      [
        { put: keys.state(jobId), value: encodeState({ ...job, claimId }) },
        this.#claim(jobId, { id: claimId, before: job.claimId }, lease),
      ],
    );
    return succeeded;
  }

  /** Puts a claim of this coordinator under the lease that it holds now. */
  async renew(jobId: string, { id, before, term }: WatchedClaim, lease: Lease): Promise<boolean> {
    const { succeeded } = await this.#write(
      [this.#isOurs(jobId, term)],
      [this.#claim(jobId, before === undefined ? { id } : { id, before }, lease)],
    );
    return succeeded;
  }

  /** How a job stands, encoded. False: the claim of this term is not there any more. */
  async say(jobId: string, term: number, state: string): Promise<boolean> {
    const { keys } = this.#options;
    const { succeeded } = await this.#write([this.#isOurs(jobId, term)], [{ put: keys.state(jobId), value: state }]);
    return succeeded;
  }

  /** The end of a job, said by whoever has the claim of this term; said twice it is said once. False: it is another's to say. */
  async end(job: SharedJob, term: number): Promise<{ ended: boolean; revision: Revision }> {
    const { keys } = this.#options;
    const { jobId, key } = job.definition;
    const { succeeded, revision, results } = await this.#write(
      [this.#isOurs(jobId, term)],
      [
        { put: keys.state(jobId), value: encodeState(job) },
        { delete: keys.claim(jobId) },
        { delete: keys.stop(jobId) },
        { delete: keys.active(key) },
      ],
      [{ get: keys.state(jobId) }],
    );
    if (succeeded) return { ended: true, revision };
    // The answer to an earlier attempt may have been lost.
    const [entry] = results[0]!.entries;
    const found = entry === undefined ? undefined : decodeShared<SharedState>(entry.value);
    const ended = found !== undefined && found.claimId === job.claimId && isEnded(found.snapshot.state);
    return { ended, revision: newestOf(results) };
  }

  /** False: the job has ended. */
  async askToStop(job: WatchedJob): Promise<boolean> {
    const { keys } = this.#options;
    const { jobId, key } = job.definition;
    const { succeeded } = await this.#write(
      [{ key: keys.active(key), value: jobId }],
      [{ put: keys.stop(jobId), value: jobId }],
    );
    return succeeded;
  }

  /** The bandwidth that a load has from now on. Undefined: it has ended; else the revision of that. */
  async limit(
    { definition: { jobId, key } }: WatchedJob,
    bandwidth: number | undefined,
  ): Promise<Revision | undefined> {
    const { keys } = this.#options;
    const { succeeded, revision } = await this.#write(
      [{ key: keys.active(key), value: jobId }],
      [{ put: keys.limit(jobId), value: encodeBandwidth(bandwidth) }],
    );
    return succeeded ? revision : undefined;
  }

  /** Forgets jobs that have ended; by whom, and how often, does not matter. */
  async forget({ definition: { jobId }, stateRevision }: WatchedJob): Promise<void> {
    const { keys } = this.#options;
    await this.#write(
      [{ key: keys.state(jobId), modRevision: stateRevision }],
      [{ delete: keys.state(jobId) }, { delete: keys.job(jobId) }, { delete: keys.limit(jobId) }],
    );
  }

  #isOurs(jobId: string, term: number): Compare {
    return { key: this.#options.keys.claim(jobId), createRevision: term };
  }

  #claim(jobId: string, claim: Pick<SharedClaim, 'id' | 'before'>, lease: Lease): Operation {
    const { keys, me, url } = this.#options;
    return { put: keys.claim(jobId), value: encodeClaim({ coordinator: me, url, ...claim }), lease: lease.id };
  }

  #write(compare: readonly Compare[], success: readonly Operation[], failure: readonly Operation[] = []) {
    return this.#options.etcd.txn({ compare, success, failure });
  }
}

function newestOf(results: readonly OperationResult[]): Revision {
  return Math.max(0, ...results.flatMap(({ entries }) => entries.map(({ modRevision }) => modRevision)));
}

/** What is not this coordinator's to say any more. */
export function notOurs(jobId: string, term: number): PrimedError {
  const message = `Job ${jobId}: the claim ${term} of this coordinator has ended, and another coordinator may have the job by now.`;
  return new PrimedError('RUN_SUPERSEDED', message, { jobId, term });
}
