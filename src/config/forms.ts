/**
 * The forms in which people write values, and the leaves of the schema that say which form a setting has.
 *
 * A leaf is a TypeBox schema of the parsed value (a size is an integer of bytes, a duration an integer of milliseconds)
 * with our words beside it: form, default as people write it, whether it is a secret.
 */
import Type, { type TSchema } from 'typebox';
import Value from 'typebox/value';
import { PrimedError } from '../core/errors.ts';
import { formatDuration, formatSize, parseDuration, parseSize } from '../core/sizes.ts';

export type Form =
  | 'text'
  | 'path'
  | 'size'
  | 'room'
  | 'duration'
  | 'listen'
  | 'integer'
  | 'number'
  | 'boolean'
  | 'choice'
  | 'url';

export interface Words {
  readonly description: string;
  /** As people write it; absent when the default is computed or there is none. */
  readonly default?: string | number | boolean;
  /** What is done without the setting, where `default` cannot say it. */
  readonly unset?: string;
  /** Never shown. */
  readonly secret?: boolean;
  /** The flag of the daemons, without dashes. */
  readonly flag?: string;
  /** Its name in the environment, where it is not made of the path. */
  readonly env?: string;
  /** The file holds the secret whose name it has without `_file`. */
  readonly credential?: boolean;
  /**
   * Whether a daemon that reads its configuration again takes the change without a restart; `replaced`: where there was a
   * value, and is one.
   */
  readonly live?: true | 'replaced';
}

interface Range {
  readonly minimum?: number;
  readonly maximum?: number;
  readonly multipleOf?: number;
}

export interface Leaf extends Words, Range {
  readonly form: Form;
  readonly choices?: readonly string[];
}

/** Above 0% and up to 100%. */
export const sharePattern = /^(?!0*(?:\.0*)?%)(?:\d{1,2}(?:\.\d{1,6})?|100)%$/;

export const text = (words: Words & { pattern?: string }) => Type.String({ ...words, form: 'text', minLength: 1 });
export const path = (words: Words) => Type.String({ ...words, form: 'path', minLength: 1 });
export const url = (words: Words) => Type.String({ ...words, form: 'url' });
export const listen = (words: Words) => Type.String({ ...words, form: 'listen' });
export const size = (words: Words & Range) => Type.Integer({ ...words, form: 'size' });
/** A size, or a share of the disk, which stays as it is written (`80%`). */
export const room = (words: Words & { minimum: number }) =>
  Type.Union([Type.Integer({ minimum: words.minimum }), Type.String({ pattern: sharePattern.source })], {
    ...words,
    form: 'room',
  });
export const duration = (words: Words & Range) => Type.Integer({ ...words, form: 'duration' });
export const integer = (words: Words & Range) => Type.Integer({ ...words, form: 'integer' });
export const number = (words: Words & Range) => Type.Number({ ...words, form: 'number' });
export const flag = (words: Words) => Type.Boolean({ ...words, form: 'boolean' });
export const choice = <const C extends readonly string[]>(choices: C, words: Words) =>
  Type.Union(
    choices.map((value) => Type.Literal(value as C[number])),
    { ...words, form: 'choice', choices },
  );

/**
 * A secret, and the file that may hold it instead: `token` and `token_file`. The file wins or loses by where it is written,
 * as every setting does.
 */
export function secret(name: string, words: Words & { pattern?: string }) {
  const file = path({
    description: `File with \`${name}\` in it, in place of that; the end of its line is no part of it. Not absolute, it lies in the folder of credentials where systemd has made one (\`LoadCredential=\`).`,
    credential: true,
    ...(words.live === undefined ? {} : { live: words.live }),
  });
  return { [name]: Type.Optional(text({ ...words, secret: true })), [`${name}_file`]: Type.Optional(file) };
}

/** The words of a leaf, or undefined when the schema is a table. */
export function leafOf(schema: TSchema): Leaf | undefined {
  return 'form' in schema ? (schema as unknown as Leaf) : undefined;
}

export type Parsed = { readonly value: string | number | boolean } | { readonly problem: string };

/** Reads a value in the form of its leaf. `raw` is a string of the environment or a flag, or whatever TOML had. */
export function parseValue(schema: TSchema, raw: unknown): Parsed {
  const leaf = leafOf(schema);
  if (leaf === undefined) return { problem: 'is a table, not a value' };
  const read = readForm(leaf, raw);
  if ('problem' in read) return read;
  const [error] = Value.Errors(schema, read.value);
  if (error === undefined) return read;
  return { problem: `${describeRange(leaf) ?? error.message}, not ${shown(leaf, raw)}` };
}

function readForm(leaf: Leaf, raw: unknown): Parsed {
  const wrong = (what: string): Parsed => ({ problem: `must be ${what}, not ${shown(leaf, raw)}` });
  switch (leaf.form) {
    case 'text':
    case 'path':
      return typeof raw === 'string' && raw !== '' ? { value: raw } : wrong('a text that is not empty');
    case 'choice':
      if (typeof raw === 'string' && leaf.choices?.includes(raw)) return { value: raw };
      return wrong(`one of ${leaf.choices?.map((value) => `"${value}"`).join(', ')}`);
    case 'boolean':
      if (raw === true || raw === 'true') return { value: true };
      return raw === false || raw === 'false' ? { value: false } : wrong('true or false');
    case 'integer':
    case 'number': {
      const value = typeof raw === 'string' && raw.trim() !== '' ? Number(raw) : raw;
      if (typeof value === 'number' && Number.isFinite(value)) return { value };
      return wrong(leaf.form === 'integer' ? 'a whole number' : 'a number');
    }
    case 'size':
      return readWith(parseSize, raw, () => wrong('a size such as "512MB" or "1.5g"'), true);
    case 'room': {
      const written = String(raw).replaceAll(' ', '');
      if (sharePattern.test(written)) return { value: written };
      return readWith(
        parseSize,
        raw,
        () => wrong('a size such as "1.5TB", or a share of the disk such as "80%"'),
        true,
      );
    }
    case 'duration':
      return readWith(
        parseDuration,
        raw,
        () => wrong('a duration with its unit such as "30s", "100ms" or "7d"'),
        false,
      );
    case 'listen':
      if (typeof raw === 'string' && parseListen(raw) !== undefined) return { value: raw };
      return wrong('HOST:PORT such as "127.0.0.1:19999" or "[::1]:19999"');
    case 'url':
      if (typeof raw === 'string' && /^https?:\/\/[^/]/.test(raw) && URL.canParse(raw)) return { value: raw };
      return wrong('a URL that starts with http:// or https://');
  }
}

function readWith(parse: (text: string) => number, raw: unknown, wrong: () => Parsed, bareAllowed: boolean): Parsed {
  if (typeof raw !== 'string' && typeof raw !== 'number') return wrong();
  const written = String(raw).trim();
  if (!bareAllowed && /^[\d.]*$/.test(written)) return wrong();
  try {
    return { value: parse(written) };
  } catch (error) {
    if (error instanceof PrimedError) return wrong();
    throw error;
  }
}

/** The range that a value must lie in, in the units of its form; undefined when every value is right. */
export function describeRange(leaf: Leaf): string | undefined {
  const write = (value: number): string => {
    if (leaf.form === 'size' || leaf.form === 'room') return formatSize(value);
    return leaf.form === 'duration' ? formatDuration(value) : String(value);
  };
  const limits: string[] = [];
  if (leaf.minimum !== undefined && leaf.maximum !== undefined) {
    limits.push(`from ${write(leaf.minimum)} to ${write(leaf.maximum)}`);
  } else if (leaf.minimum !== undefined) limits.push(`at least ${write(leaf.minimum)}`);
  else if (leaf.maximum !== undefined) limits.push(`at most ${write(leaf.maximum)}`);
  if (leaf.multipleOf !== undefined) limits.push(`a multiple of ${write(leaf.multipleOf)}`);
  if (limits.length === 0 && leaf.form !== 'integer') return undefined;
  return `must be ${leaf.form === 'integer' ? 'a whole number ' : ''}${limits.join(' and ')}`.trimEnd();
}

function shown(leaf: Leaf, raw: unknown): string {
  if (leaf.secret) return 'what is written there';
  const written = withoutUser(typeof raw === 'string' ? `"${raw}"` : (JSON.stringify(raw) ?? String(raw)));
  return written.length > 80 ? `${written.slice(0, 80)}…` : written;
}

/** Addresses are shown, so that nobody's password may be in one. Before the "@" of a password that is not encoded a "/" may stand. */
export function namesUser(url: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\/(?:[^/?#]*@|[^/?#@[]*:(?!\d*(?:[/?#]|$)).*@)/is.test(url);
}

export const userProblem = 'has a user or a password in it, which would be shown';

/** What may be shown of an address, also of one that is none: nothing of what stands before its last "@". */
export function withoutUser(address: string): string {
  return address.replace(/^("?(?:[a-z][a-z0-9+.-]*:\/\/)?).*@/is, '$1…@');
}

export interface Listen {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
}

/** `HOST:PORT`, with brackets around an IPv6 address; undefined when it is not that. */
export function parseListen(written: string): Listen | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]/]+)):(\d{1,5})$/.exec(written);
  if (match === null || Number(match[3]) > 65_535) return undefined;
  return { host: (match[1] ?? match[2])!, port: Number(match[3]) };
}

/** Whether only programs of the same machine can connect to an address. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}
