/** Values in DER (X.690), as far as lists of revoked certificates have them. Throws DerError for what is none. */

export interface Der {
  readonly tag: number;
  readonly content: Buffer;
  /** With tag and length. */
  readonly whole: Buffer;
}

export class DerError extends Error {}

export const derTags = {
  boolean: 0x01,
  integer: 0x02,
  bits: 0x03,
  oid: 0x06,
  sequence: 0x30,
  utcTime: 0x17,
  time: 0x18,
};

/** A length takes at most so many bytes here: 4 GiB. */
const mostLengthBytes = 4;

export function derAt(bytes: Buffer, offset = 0): Der {
  const [tag, first] = [bytes[offset], bytes[offset + 1]];
  if (tag === undefined || first === undefined) throw new DerError('it ends too early');
  if ((tag & 0x1f) === 0x1f) throw new DerError('it has a tag of several bytes');
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  const from = offset + 2 + lengthBytes;
  if (first === 0x80 || lengthBytes > mostLengthBytes || from > bytes.length) throw new DerError('a length is none');
  const length = lengthBytes === 0 ? first : bytes.readUIntBE(offset + 2, lengthBytes);
  if (from + length > bytes.length) throw new DerError('it ends too early');
  return { tag, content: bytes.subarray(from, from + length), whole: bytes.subarray(offset, from + length) };
}

/** What a value is made of, in turn. */
export function* partsOf({ content }: Pick<Der, 'content'>): Generator<Der> {
  for (let at = 0; at < content.length; ) {
    const part = derAt(content, at);
    at += part.whole.length;
    yield part;
  }
}

/** The next part, which has to have one of these tags. */
export function expectPart(parts: Iterator<Der>, ...tags: readonly number[]): Der {
  const { value, done } = parts.next();
  if (done === true || !tags.includes(value.tag))
    throw new DerError(`what should have the tag ${tags} has another one`);
  return value;
}

/** Milliseconds since the epoch. Of certificates and lists: always to the second, always UTC (RFC 5280, 4.1.2.5). */
export function timeOf({ tag, content }: Der): number {
  const text = content.toString('latin1');
  const short = tag === derTags.utcTime;
  const found = (short ? /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/ : /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/).exec(
    text,
  );
  if (found === null) throw new DerError('a time is none');
  const [year, month, day, hour, minute, second] = found.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const whole = short ? year + (year < 50 ? 2000 : 1900) : year;
  return Date.UTC(whole, month - 1, day, hour, minute, second);
}
