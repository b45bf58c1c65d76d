/** `[store]`: what stays in the store when room is needed, and for how long. */
import Type from 'typebox';
import { mostRules, type RetentionRule } from '../core/retention.ts';
import type { Draft } from './draft.ts';
import { choice, duration, flag, integer, size, text } from './forms.ts';

export interface RetentionConfig {
  readonly eviction: 'lru' | 'none';
  readonly rules: readonly RetentionRule[];
  readonly removedLimitMs: number;
}

const closed = { additionalProperties: false } as const;
const yearMs = 365 * 86_400_000;

const ruleSchema = Type.Object(
  {
    prefix: text({
      live: true,
      description:
        'Paths that begin with it: `s3://bucket/…` or `file:///dir/…`. A path belongs to the longest prefix that has an entry, and to no other.',
    }),
    priority: integer({
      live: true,
      description: 'What has a lower one is evicted first, however lately it was read. Paths without an entry have 0.',
      default: 0,
      minimum: -1000,
      maximum: 1000,
    }),
    ttl: Type.Optional(
      duration({
        live: true,
        description:
          'Age, since it was cached, at which a file is removed: within seconds, and not while a load runs that counts on it. Until it is removed it is served.',
        minimum: 1000,
        maximum: 10 * yearMs,
        unset: 'files do not expire',
      }),
    ),
    quota: Type.Optional(
      size({
        live: true,
        description:
          'Bytes that files of this prefix may take on each worker. Beyond it, those go that were not used for longest; a load that has more itself fails.',
        minimum: 1,
        unset: 'no limit',
      }),
    ),
    pinned: flag({
      live: true,
      description:
        'Never evict, nor let expire, what has this prefix. `primed fs pin` does the same while workers run.',
      default: false,
    }),
  },
  { ...closed, description: 'What files of one prefix are worth. The same on every worker.' },
);

export const retentionSchema = Type.Object(
  {
    eviction: choice(['lru', 'none'], {
      live: true,
      description:
        'What goes when a load needs room: `lru` files that were not used for longest, `none` nothing; then the load is refused.',
      default: 'lru',
    }),
    removed_limit: duration({
      live: true,
      description:
        'How long a client may go on reading a file that was removed or replaced. Until then the file keeps its room; afterwards the answer is cut off.',
      default: '30m',
      minimum: 1000,
      maximum: 7 * 86_400_000,
    }),
    rule: Type.Optional(Type.Array(ruleSchema, { maxItems: mostRules })),
  },
  { ...closed, description: 'What stays in the stores of a worker when room is needed.' },
);

export function retentionOf({ values, counts }: Draft): RetentionConfig {
  return {
    eviction: values.get('store.eviction') as 'lru' | 'none',
    removedLimitMs: values.get('store.removed_limit') as number,
    rules: Array.from({ length: counts.get('store.rule') ?? 0 }, (_, index) => {
      const get = <T>(name: string): T | undefined => values.get(`store.rule[${index}].${name}`) as T | undefined;
      const [ttlMs, quotaBytes] = [get<number>('ttl'), get<number>('quota')];
      return {
        prefix: get<string>('prefix')!,
        priority: get<number>('priority') ?? 0,
        pinned: get<boolean>('pinned') ?? false,
        ...(ttlMs === undefined ? {} : { ttlMs }),
        ...(quotaBytes === undefined ? {} : { quotaBytes }),
      };
    }),
  };
}

export function checkRetention({ values, counts }: Draft, complain: (key: string, problem: string) => void): void {
  const seen = new Map<unknown, number>();
  for (let index = 0; index < (counts.get('store.rule') ?? 0); index++) {
    const at = (name: string): string => `store.rule[${index}].${name}`;
    const prefix = values.get(at('prefix'));
    if (typeof prefix !== 'string') continue;
    if (!/^(?:s3:\/\/[^/]|file:\/\/\/)/.test(prefix))
      complain(at('prefix'), `must begin with s3://bucket or file:///dir, not "${prefix}"`);
    const earlier = seen.get(prefix);
    if (earlier !== undefined) complain(at('prefix'), `is the prefix of store.rule[${earlier}] as well`);
    seen.set(prefix, index);
    if (values.get(at('pinned')) !== true) continue;
    for (const name of ['ttl', 'quota'])
      if (values.has(at(name))) complain(at(name), 'is of no use with pinned = true: nothing of it ever goes');
  }
}
