/** Percent-decoding as clients really encode. */

const percent = 0x25;
const plus = 0x2b;
const space = 0x20;
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export interface Decoding {
  /** As of a form. */
  readonly plusIsSpace?: boolean;
  /** Smallest byte that is decoded; what stands for smaller ones stays as it was sent. Default 0. */
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
    const high = byte === percent ? hexDigit(bytes[at + 1]) : -1;
    const low = high < 0 ? -1 : hexDigit(bytes[at + 2]);
    if (low >= 0 && high * 16 + low >= from) {
      bytes[length] = high * 16 + low;
      at += 2;
    } else bytes[length] = byte === plus && plusIsSpace ? space : byte;
  }
  try {
    return decoder.decode(bytes.subarray(0, length));
  } catch {
    return undefined;
  }
}

function hexDigit(byte: number | undefined): number {
  if (byte === undefined) return -1;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x61 + 10 : -1;
}
