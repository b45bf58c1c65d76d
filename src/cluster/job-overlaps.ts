/** Which jobs exclude each other: what is being loaded is not pulled away, and what is being freed is not loaded meanwhile. */
import { PrimedError } from '../core/errors.ts';
import { overlap } from '../core/path-scope.ts';
import type { Origins } from '../origin/types.ts';
import { type Order, scopesOf, verbOf } from './job-paths.ts';

export interface KnownJob {
  readonly definition: Order & { readonly jobId: string };
  readonly active: boolean;
}

/**
 * Throws JOB_CONFLICT, naming the job, when a load and a free are about the same path, or one about a path below that of the
 * other; and when the alias is that of another job. A dry run removes nothing, and is in nobody's way.
 */
export function refuseOverlaps(order: Order, jobs: Iterable<KnownJob>, origins: Pick<Origins, 'resolve'>): void {
  let scopes: readonly string[] | undefined;
  for (const { definition, active } of jobs) {
    if (!active) continue;
    if (order.alias !== undefined && definition.alias === order.alias)
      throw conflict(order, definition, `it has the alias '${order.alias}'`);
    if (definition.type === order.type || definition.dryRun === true || order.dryRun === true) continue;
    scopes ??= scopesOf(order, origins);
    const others = scopesOf(definition, origins);
    if (scopes === undefined || others === undefined)
      throw conflict(order, definition, 'an index file may name any path, so that frees and loads from one take turns');
    if (scopes.some((one) => others.some((other) => overlap(one, other))))
      throw conflict(order, definition, 'the path of one is the same, or lies below that of the other');
  }
}

function conflict({ type, source: { path } }: Order, other: KnownJob['definition'], why: string): PrimedError {
  const { jobId } = other;
  const busy = `the ${verbOf(other.type).toLowerCase()} of '${other.source.path}' (job ${jobId}) is under way, and ${why}`;
  return new PrimedError(
    'JOB_CONFLICT',
    `${verbOf(type)} of '${path}' cannot start: ${busy}. Stop that one, or wait for its end.`,
    { path, jobId },
  );
}
