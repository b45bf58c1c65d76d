/** `[reading]`: what becomes of reads of what is not cached, and how old what is cached may be. */
import Type from 'typebox';
import { ReadPolicies, type ReadRule, type ReadRules, readThroughWays } from '../core/read-policy.ts';
import { MiB } from '../core/units.ts';
import type { Draft } from './draft.ts';
import { choice, duration, size, text } from './forms.ts';

export interface ReadingConfig extends ReadRules {
  readonly aheadBytes: number;
  readonly serveStale: boolean;
}

const tenYearsMs = 3650 * 86_400_000;

const ways = (more: { default?: string; unset?: string }) =>
  choice(readThroughWays, {
    live: true,
    description:
      'What becomes of a read of what is not cached: `always`, it is read from the origin and kept; `pass`, it is read from the origin and not kept; `never`, it is answered as not there.',
    ...more,
  });
const maxAge = (unset: string) =>
  duration({
    live: true,
    description:
      'How long what is cached is given before the origin is asked, by one HEAD, whether it is still right; `0s`: at each read. Of paths that are read through only.',
    minimum: 0,
    maximum: tenYearsMs,
    unset,
  });

const write = (unset: string) =>
  choice(['refuse', 'through'], {
    live: true,
    description:
      'What becomes of writes on the S3 port: `refuse`, 405; `through`, they are passed to the origin with its credentials. What is written through is read with `max_age = "0s"`. Of s3:// only, on all workers before the first write.',
    unset,
  });

/** Beside the settings of an origin. */
export const readSettings = {
  write: Type.Optional(write('`refuse`')),
  read_through: Type.Optional(ways({ unset: '`reading.read_through`' })),
  max_age: Type.Optional(maxAge('`reading.max_age`')),
};

const ruleSchema = Type.Object(
  {
    prefix: text({
      live: true,
      description: 'Paths that it is for: `s3://bucket/…` or `file:///dir/…`. The longest that matches wins.',
    }),
    read_through: Type.Optional(ways({ unset: 'as of the origin' })),
    max_age: Type.Optional(maxAge('as of the origin')),
    write: Type.Optional(write('as of the origin')),
  },
  { additionalProperties: false, description: 'How a part of an origin is read; it goes before what `[[ufs]]` says.' },
);

export const readingSchema = Type.Object(
  {
    read_through: ways({ default: 'never' }),
    max_age: Type.Optional(maxAge('objects never change, and the origin is not asked about what is cached')),
    read_ahead: size({
      description: 'How far ahead of a reader the origin is asked for what it reads through.',
      default: '32MB',
      minimum: MiB,
      maximum: 1024 * MiB,
    }),
    origin_away: choice(['serve', 'refuse'], {
      description:
        'What becomes of cached data older than `max_age` while the origin cannot be asked: `serve` gives it, counts and logs that; `refuse` answers 503.',
      default: 'serve',
    }),
    rule: Type.Optional(Type.Array(ruleSchema, { maxItems: 1000 })),
  },
  {
    additionalProperties: false,
    description: 'Reads of what is not cached, and the age of what is. The same on all workers.',
  },
);

export function readingOf(draft: Draft): ReadingConfig {
  const { values } = draft;
  return {
    base: {
      readThrough: values.get('reading.read_through') as ReadingConfig['base']['readThrough'],
      maxAgeMs: values.get('reading.max_age') as number | undefined,
    },
    origins: rulesIn(draft, 'ufs'),
    rules: rulesIn(draft, 'reading.rule'),
    aheadBytes: values.get('reading.read_ahead') as number,
    serveStale: values.get('reading.origin_away') === 'serve',
  };
}

export function checkReading(draft: Draft, complain: (draft: Draft, key: string, problem: string) => void): void {
  for (const [index, { prefix }] of rulesIn(draft, 'reading.rule').entries())
    if (!/^(s3:\/\/([^/]+(\/.*)?)?|file:\/\/\/.*)$/.test(prefix))
      complain(draft, `reading.rule[${index}].prefix`, `must be s3://bucket/… or file:///dir, not "${prefix}"`);
  const reading = readingOf(draft);
  const policies = new ReadPolicies(reading);
  const tables = { ufs: reading.origins, 'reading.rule': reading.rules };
  for (const [table, rules] of Object.entries(tables))
    for (const [index, { prefix, writes, maxAgeMs }] of rules.entries()) {
      const at = (name: string): string => `${table}[${index}].${name}`;
      const policy = policies.of(prefix);
      if (writes === true && !prefix.startsWith('s3://'))
        complain(draft, at('write'), 'only what is of s3:// is written through');
      if (policy.writes === true && policy.readThrough === 'never')
        complain(
          draft,
          at(writes === true ? 'write' : 'read_through'),
          `${prefix} is written through, and then read_through must be "pass" or "always": what was written has to be found`,
        );
      if (policy.writes === true && maxAgeMs !== undefined && maxAgeMs > 0)
        complain(
          draft,
          at('max_age'),
          `${prefix} is written through, and then the origin is asked at each read: remove it`,
        );
    }
}

function rulesIn({ values, counts }: Draft, table: string): ReadRule[] {
  return Array.from({ length: counts.get(table) ?? 0 }, (_, index) => {
    const get = <T>(name: string): T | undefined => values.get(`${table}[${index}].${name}`) as T | undefined;
    const readThrough = get<ReadRule['readThrough']>('read_through');
    const maxAgeMs = get<number>('max_age');
    const write = get<string>('write');
    return {
      prefix: get<string>('prefix') ?? '',
      ...(readThrough && { readThrough }),
      ...(maxAgeMs === undefined ? {} : { maxAgeMs }),
      ...(write === undefined ? {} : { writes: write === 'through' }),
    };
  });
}
