/**
 * CRC-64/NVME in JavaScript, for the whole-object checksums that the embedded origin states (S3's own default
 * algorithm). Independent of the addon's implementation on purpose: each is a judge of the other.
 * Parameters: polynomial 0xad93d23594c93659 reflected (0x9a6c9329ac4bc9b5), all bits set before and inverted after.
 */
const polynomialHigh = 0x9a6c9329;
const polynomialLow = 0xac4bc9b5;

// One entry a byte, as two 32-bit halves: BigInt would cost an allocation a byte.
const tableHigh = new Uint32Array(256);
const tableLow = new Uint32Array(256);
for (let byte = 0; byte < 256; byte += 1) {
  let high = 0;
  let low = byte;
  for (let bit = 0; bit < 8; bit += 1) {
    const carry = low & 1;
    low = ((low >>> 1) | (high << 31)) >>> 0;
    high >>>= 1;
    if (carry) {
      low = (low ^ polynomialLow) >>> 0;
      high = (high ^ polynomialHigh) >>> 0;
    }
  }
  tableHigh[byte] = high;
  tableLow[byte] = low;
}

/** CRC64NVME of the concatenated pieces, base64 of its 8 bytes big-endian as S3 sends it. */
export function crc64nvmeBase64(pieces: Iterable<Uint8Array>): string {
  let high = 0xffffffff;
  let low = 0xffffffff;
  for (const piece of pieces) {
    for (let at = 0; at < piece.length; at += 1) {
      const index = (low ^ piece[at]!) & 0xff;
      low = ((low >>> 8) | (high << 24)) ^ tableLow[index]!;
      high = (high >>> 8) ^ tableHigh[index]!;
    }
  }
  const out = Buffer.alloc(8);
  out.writeUInt32BE(~high >>> 0, 0);
  out.writeUInt32BE(~low >>> 0, 4);
  return out.toString('base64');
}
