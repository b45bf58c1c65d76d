/**
 * Where shared jobs lie in etcd. All keys have one root, so that one watch tells of all of them in the order in which they
 * were written.
 *
 *   <root>record/<job id>        SharedJob, in JSON: definition, how it stands, who claimed it last
 *   <root>active/<hash of path>  job id: the one job of this path that has not ended
 *   <root>claim/<job id>         SharedClaim, in JSON, under the lease of the coordinator that runs the job
 *   <root>stop/<job id>          a stop was asked for; goes with the end of the job
 *   <root>coordinator/<id>       SharedCoordinator, in JSON, under its lease
 *
 * The number of a job is the revision that made its record; the term of a claim is the one that made the claim.
 */
import { createHash } from 'node:crypto';

const kinds = ['record', 'active', 'claim', 'stop', 'coordinator'] as const;
export type SharedKind = (typeof kinds)[number];

export class SharedKeys {
  readonly root: string;

  /** `root` ends with a slash. */
  constructor(root: string) {
    this.root = root;
  }

  record(jobId: string): string {
    return `${this.root}record/${jobId}`;
  }

  /** Paths are longer than keys should be, and have any characters. */
  active(path: string): string {
    return `${this.root}active/${createHash('sha256').update(path).digest('hex')}`;
  }

  claim(jobId: string): string {
    return `${this.root}claim/${jobId}`;
  }

  stop(jobId: string): string {
    return `${this.root}stop/${jobId}`;
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
