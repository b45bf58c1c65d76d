/** Percent-decoding as clients really encode. */
import { isUtf8 } from 'node:buffer';

const percent = 0x25;
const plus = 0x2b;
const space = 0x20;
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export interface Decoding {
  /** As of a form. */
  readonly plusIsSpace?: boolean;
  /**
   * Smallest byte that is decoded; what stands for smaller ones stays as it was sent. Default 0. From 0x80 on whole characters
   * are decoded: other escapes are part of the text, which was not encoded below that.
   */
  readonly from?: number;
}

/**
 * Decodes bytes, once. A `%` that no two hex digits follow stands for itself: no encoder writes one, and some clients send
 * what is not encoded at all. Undefined: the result is not UTF-8.
 * @param text one character a byte, as Node hands out targets
 */
export function decodePercent(text: string, { plusIsSpace = false, from = 0 }: Decoding = {}): string | undefined {
  // Nearly every text: ASCII, without `%` and `+`.
  if (/^[ -$&-*,-~]*$/.test(text)) return text;
  const bytes = Buffer.from(text, 'latin1');
  let length = 0;
  for (let at = 0; at < bytes.length; at += 1, length += 1) {
    const byte = bytes[at]!;
    const escaped = escapedAt(bytes, at);
    const decoded = escaped < from ? 0 : from < 0x80 ? 1 : characterAt(bytes, at, escaped);
    for (let index = 0; index < decoded; index += 1) bytes[length + index] = escapedAt(bytes, at + 3 * index);
    if (decoded > 0) {
      at += 3 * decoded - 1;
      length += decoded - 1;
    } else bytes[length] = byte === plus && plusIsSpace ? space : byte;
  }
  try {
    return decoder.decode(bytes.subarray(0, length));
  } catch {
    return undefined;
  }
}

/** The byte that is written there as `%XX`; -1: none is. */
function escapedAt(bytes: Buffer, at: number): number {
  if (bytes[at] !== percent) return -1;
  const high = hexDigit(bytes[at + 1]);
  const low = hexDigit(bytes[at + 2]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/** How many escapes from there are one character beyond ASCII; 0: they are none. */
function characterAt(bytes: Buffer, at: number, first: number): number {
  const count = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  const all = Array.from({ length: count }, (_, index) => escapedAt(bytes, at + 3 * index));
  return !all.includes(-1) && isUtf8(Uint8Array.from(all)) ? count : 0;
}

function hexDigit(byte: number | undefined): number {
  if (byte === undefined) return -1;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x61 + 10 : -1;
}
