/**
 * What an origin says of an object beside its version: the headers that belong to the object and that readers get with it.
 *
 * They travel and are stored as one text, a line a header: one character that says which, then the value; `\n` between lines.
 * Nearly every object has none, or the one type that its origin gives to all: the empty text, or one character.
 *
 *   t content-type   e content-encoding   l content-language   d content-disposition   c cache-control   x expires
 *   6 C i 1 2 x-amz-checksum-crc64nvme, -crc32c, -crc32, -sha1, -sha256, of the whole object
 *   I K S H x-amz-checksum-crc32, -crc32c, -sha1, -sha256 of type COMPOSITE: a checksum of those of the parts, and how many there were
 *   v x-amz-version-id   u x-amz-meta-NAME, as NAME:value   - x-amz-missing-meta   b content-type: binary/octet-stream
 */

/** The type of an object of which nothing is known, or whose origin says so: no line is spent on it. */
export const plainType = 'application/octet-stream';
/** What S3 says of an object that was stored without a type. */
const binaryType = 'binary/octet-stream';

/** Characters of the whole text at most. S3 takes 8 KiB of headers with an object, 2 KiB of them user metadata. */
export const attributesMax = 8 * 1024;

const metaPrefix = 'x-amz-meta-';
const checksumTypeHeader = 'x-amz-checksum-type';
const missingHeader = 'x-amz-missing-meta';
const codeOf: Readonly<Record<string, string>> = {
  'content-type': 't',
  'content-encoding': 'e',
  'content-language': 'l',
  'content-disposition': 'd',
  'cache-control': 'c',
  expires: 'x',
  'x-amz-version-id': 'v',
  [missingHeader]: '-',
  'x-amz-checksum-crc64nvme': '6',
  'x-amz-checksum-crc32c': 'C',
  'x-amz-checksum-crc32': 'i',
  'x-amz-checksum-sha1': '1',
  'x-amz-checksum-sha256': '2',
};
const nameOf: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(codeOf).map(([name, code]) => [code, name]),
);

const checksumPrefix = 'x-amz-checksum-';
const checksumCodes = new Set(
  Object.keys(codeOf)
    .filter((name) => name.startsWith(checksumPrefix))
    .map((name) => codeOf[name]!),
);

/** Of a checksum of checksums the code, by that of one of the whole object. CRC64NVME is of the whole object always. */
const compositeOf: Readonly<Record<string, string>> = { i: 'I', C: 'K', '1': 'S', '2': 'H' };
const wholeOf: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(compositeOf).map(([whole, composite]) => [composite, whole]),
);
const compositeShape = /^[A-Za-z0-9+/]+={0,2}-[1-9]\d{0,4}$/;

/** In base64, by the name that S3 has for each: of a whole object, or, with how many parts it had behind, of their checksums. */
export interface Checksums {
  readonly crc64nvme?: string;
  readonly crc32c?: string;
  readonly crc32?: string;
  readonly sha256?: string;
  readonly sha1?: string;
}

/** Names of the headers that are kept, but for user metadata, in lower case. */
export const attributeNames: readonly string[] = Object.keys(codeOf);

/**
 * The text with one more header. A header of another name, and one that says nothing, leave it as it is.
 * @param name in lower case
 * @param value of one line, as latin1
 */
export function withAttribute(text: string, name: string, value: string): string {
  const line = lineOf(name, value);
  if (line === '') return text;
  return text === '' ? line : `${text}\n${line}`;
}

function lineOf(name: string, value: string): string {
  const code = Object.hasOwn(codeOf, name) ? codeOf[name]! : undefined;
  if (code === 't' && value === plainType) return '';
  if (code === 't' && value === binaryType) return 'b';
  // A checksum of checksums says how many those are, as `…-3`: it is of another type, and compared with the bytes by nobody here.
  if (code !== undefined && checksumCodes.has(code) && value.includes('-'))
    return code in compositeOf && compositeShape.test(value) ? compositeOf[code]! + value : '';
  if (code !== undefined) return value === '' ? '' : code + value;
  return name.startsWith(metaPrefix) ? `u${name.slice(metaPrefix.length)}:${value}` : '';
}

/**
 * No longer than may be stored: user metadata that does not fit is left out, and counted as S3 counts what it cannot send; so is
 * anything else that does not fit by itself.
 */
export function bounded(text: string): string {
  if (text.length <= attributesMax) return text;
  const lines = text.split('\n');
  const kept: string[] = [];
  let room = attributesMax - '\n-99999'.length;
  let missing = 0;
  for (const line of [...lines.filter((one) => one[0] !== 'u'), ...lines.filter((one) => one[0] === 'u')]) {
    if (line[0] === '-') missing += Number(line.slice(1)) || 0;
    else if (line.length < room) {
      kept.push(line);
      room -= line.length + 1;
    } else missing += 1;
  }
  return [...kept, `-${missing}`].join('\n');
}

/** Of headers as Node and the AWS SDK give them out: names in lower case. */
export function attributesOf(headers: Readonly<Record<string, string | readonly string[] | undefined>>): string {
  let text = '';
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) text = withAttribute(text, name, typeof value === 'string' ? value : value.join(', '));
  }
  return bounded(text);
}

/** Of these only the first one counts; others that are there twice are joined, as HTTP has it. */
const single = new Set(['content-type', 'expires', 'x-amz-version-id']);

/**
 * Adds the headers that the text stands for, a content-type always.
 * @param also `checksums`: for an answer that is the whole object
 */
export function putAttributes(headers: Record<string, string>, text: string, also?: 'checksums'): void {
  const composite: Record<string, string> = {};
  for (const line of text === '' ? [] : text.split('\n')) {
    const code = line[0]!;
    if (code === 'b') headers['content-type'] ??= binaryType;
    else if (code === 'u') {
      const colon = line.indexOf(':');
      put(headers, metaPrefix + line.slice(1, colon), line.slice(colon + 1));
    } else if (code in wholeOf) composite[nameOf[wholeOf[code]!]!] = line.slice(1);
    else {
      const isChecksum = checksumCodes.has(code);
      if (isChecksum && also === undefined) continue;
      const name = nameOf[code];
      if (name !== undefined) put(headers, name, line.slice(1));
      if (isChecksum) headers[checksumTypeHeader] = 'FULL_OBJECT';
    }
  }
  headers['content-type'] ??= plainType;
  // An answer has one type: what is said of the whole object says more.
  if (also === undefined || headers[checksumTypeHeader] !== undefined || Object.keys(composite).length === 0) return;
  Object.assign(headers, composite, { [checksumTypeHeader]: 'COMPOSITE' });
}

/** Of the whole object: checksums of checksums are none. */
export function hasChecksums(text: string): boolean {
  return text !== '' && text.split('\n').some((line) => checksumCodes.has(line[0]!));
}

/** Checksums of checksums that the text has, by the name that S3 has for each. */
export function compositesIn(text: string): Checksums {
  const found: Record<string, string> = {};
  for (const line of text.split('\n')) {
    const whole = wholeOf[line.slice(0, 1)];
    if (whole !== undefined) found[nameOf[whole]!.slice(checksumPrefix.length)] = line.slice(1);
  }
  return found;
}

/** The text with checksums, in place of what it said of the same ones. */
export function withChecksums(text: string, checksums: Checksums): string {
  const lines = Object.entries(checksums)
    .map(([kind, sum]: [string, string]) => lineOf(checksumPrefix + kind, sum))
    .filter((line) => line !== '');
  const told = new Set(lines.map((line) => line[0]));
  const others = text.split('\n').filter((line) => line !== '' && !told.has(line[0]));
  return bounded([...others, ...lines].join('\n'));
}

function put(headers: Record<string, string>, name: string, value: string): void {
  const before = headers[name];
  if (before === undefined) headers[name] = value;
  else if (!single.has(name)) headers[name] = `${before}, ${value}`;
}

/** The version that the text names; of an origin that keeps none, undefined. */
export function versionIn(text: string): string | undefined {
  if (!text.includes('v')) return undefined;
  return text
    .split('\n')
    .find((line) => line.startsWith('v'))
    ?.slice(1);
}
