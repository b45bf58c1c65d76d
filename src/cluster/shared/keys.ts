/**
 * Where shared jobs lie in etcd. All keys have one root, so that one watch tells of all of them in the order in which they
 * were written.
 *
 *   <root>job/<job id>           SharedDefinition, in JSON: what was asked for; never changes
 *   <root>state/<job id>         SharedState, in JSON: how it stands, who claimed it last
 *   <root>active/<hash of key>   job id: the one job of this path that has not ended
 *   <root>claim/<job id>         SharedClaim, in JSON, under the lease of the coordinator that runs the job
 *   <root>stop/<job id>          a stop was asked for; goes with the end of the job
 *   <root>limit/<job id>         SharedBandwidth, in JSON: the one that was asked for while the job ran; goes with the job
 *   <root>coordinator/<id>       SharedCoordinator, in JSON, under its lease
 *   <root>order                  written with each job that begins: who decides whether one may has to know all of them
 *
 * The number of a job is the revision that made it; the term of a claim is the one that made the claim.
 */
import { createHash } from 'node:crypto';

const kinds = ['job', 'state', 'active', 'claim', 'stop', 'limit', 'coordinator'] as const;
export type SharedKind = (typeof kinds)[number];

export class SharedKeys {
  readonly root: string;

  /** `root` ends with a slash. */
  constructor(root: string) {
    this.root = root;
  }

  get order(): string {
    return `${this.root}order`;
  }

  job(jobId: string): string {
    return `${this.root}job/${jobId}`;
  }

  state(jobId: string): string {
    return `${this.root}state/${jobId}`;
  }

  /** Paths are longer than keys should be, and have any characters. */
  active(key: string): string {
    return `${this.root}active/${createHash('sha256').update(key).digest('hex')}`;
  }

  claim(jobId: string): string {
    return `${this.root}claim/${jobId}`;
  }

  stop(jobId: string): string {
    return `${this.root}stop/${jobId}`;
  }

  limit(jobId: string): string {
    return `${this.root}limit/${jobId}`;
  }

  coordinator(id: string): string {
    return `${this.root}coordinator/${id}`;
  }

  /** Undefined: a key of nobody's. */
  parse(key: string): { readonly kind: SharedKind; readonly id: string } | undefined {
    const [kind, id, ...more] = key.slice(this.root.length).split('/');
    const known = kinds.find((one) => one === kind);
    return known === undefined || id === undefined || id === '' || more.length > 0 ? undefined : { kind: known, id };
  }
}
