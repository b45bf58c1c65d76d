/** `[s3]`: who may ask the S3 port for what. */
import Type from 'typebox';
import type { Draft } from './draft.ts';
import { flag, secret, text } from './forms.ts';

export interface S3Config {
  readonly anonymous: boolean;
  readonly redirect: boolean;
  /** Host names below which a bucket may stand: `bucket.<domain>`. Lower case. */
  readonly domains: readonly string[];
  readonly keys: readonly {
    readonly accessKeyId: string;
    readonly secretAccessKey: string;
    /** Empty: everything. */
    readonly prefixes: readonly string[];
    /** Whether it may write where writes are passed through. */
    readonly writes: boolean;
  }[];
}

const keySchema = Type.Object(
  {
    access_key_id: text({ live: true, description: 'Key id.', pattern: '^[A-Za-z0-9._-]{3,128}$' }),
    ...secret('secret_access_key', { live: true, description: 'Secret of the key. It, or its file, must be set.' }),
    prefixes: Type.Optional(
      text({
        live: true,
        description: 'What the key is for: `s3://bucket/…`, with commas between them.',
        unset: 'everything',
      }),
    ),
    write: flag({
      live: true,
      description: 'The key may write as well, below its prefixes, where `write = "through"` lets anybody write.',
      default: false,
    }),
  },
  { additionalProperties: false, description: 'A key by which requests to the S3 port are signed.' },
);

export const s3Schema = Type.Object(
  {
    anonymous: flag({
      live: true,
      description: 'Answer unsigned requests although there are keys. Without keys signatures are not looked at.',
      default: false,
    }),
    redirect: flag({
      description:
        'Send unsigned requests for what one other worker has on to its S3 port (307) in place of reading it through: for clients that follow, and reach every worker by its `cluster.host`.',
      default: false,
    }),
    domains: Type.Optional(
      text({
        description:
          'Host names of the S3 port, with commas between them: a request to `bucket.<name>` is about that bucket (virtual-hosted style).',
        unset: 'the bucket is part of the path',
      }),
    ),
    key: Type.Optional(Type.Array(keySchema, { maxItems: 1000 })),
  },
  { additionalProperties: false, description: 'The S3 port: who may ask it for what.' },
);

export function s3Of({ values, counts }: Draft): S3Config {
  const get = (key: string): string | undefined => values.get(key) as string | undefined;
  return {
    anonymous: values.get('s3.anonymous') as boolean,
    redirect: values.get('s3.redirect') as boolean,
    domains: listIn(get('s3.domains')).map((name) => name.toLowerCase()),
    keys: Array.from({ length: counts.get('s3.key') ?? 0 }, (_, index) => ({
      accessKeyId: get(`s3.key[${index}].access_key_id`)!,
      secretAccessKey: get(`s3.key[${index}].secret_access_key`)!,
      prefixes: listIn(get(`s3.key[${index}].prefixes`)),
      writes: values.get(`s3.key[${index}].write`) === true,
    })),
  };
}

/** Whether the S3 port answers those only who have a key. */
export function asksForKeys({ values, counts }: Draft): boolean {
  return (counts.get('s3.key') ?? 0) > 0 && values.get('s3.anonymous') !== true;
}

export function checkS3(draft: Draft, complain: (draft: Draft, key: string, problem: string) => void): void {
  const seen = new Set<unknown>();
  for (let index = 0; index < (draft.counts.get('s3.key') ?? 0); index += 1) {
    const at = (name: string): string => `s3.key[${index}].${name}`;
    const id = draft.values.get(at('access_key_id'));
    if (seen.has(id)) complain(draft, at('access_key_id'), `"${String(id)}" is there twice`);
    seen.add(id);
    if (id !== undefined && !draft.values.has(at('secret_access_key')))
      complain(draft, at('access_key_id'), 'needs secret_access_key, or secret_access_key_file, beside it');
    for (const prefix of listIn(draft.values.get(at('prefixes')) as string | undefined))
      if (!/^s3:\/\/[^/]+\//.test(prefix)) complain(draft, at('prefixes'), `"${prefix}" is not s3://bucket/…`);
  }
  for (const name of listIn(draft.values.get('s3.domains') as string | undefined))
    if (!/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i.test(name)) complain(draft, 's3.domains', `"${name}" is not a host name`);
}

function listIn(written: string | undefined): string[] {
  return (written ?? '')
    .split(',')
    .map((one) => one.trim())
    .filter((one) => one !== '');
}
