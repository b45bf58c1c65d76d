/**
 * From format to format of the index. Pure: what becomes of one row. Each reads and writes the bytes of its two formats and
 * knows nothing of what records look like today; docs/ON_DISK_LAYOUT.md says what a step changes.
 *
 * Before a format changes: raise `indexFormat`, and write its step here.
 */
import type { Step } from './upgrade.ts';

/** `indexSteps[N]` leads from N to N + 1. */
export const indexSteps: Readonly<Record<number, Step>> = { 5: fromFiveToSix };

const fileHeadBytes = 66;
const inlineBytesAt = 44;
const blockHeadBytes = 12;

/**
 * 6 knows which run fetched each page: a byte a page in blocks, 0 for those of which nobody knows. All records of it are of
 * version 5, those before it of 4.
 */
function fromFiveToSix(table: string, _key: unknown, value: unknown): unknown {
  const bytes = Buffer.from(value as Uint8Array);
  switch (table) {
    case 'blocks':
      return blockOfSix(bytes);
    case 'files':
    case 'loading':
      return fileOfSix(bytes);
    case 'runs':
      return withVersion(bytes);
    default:
      return bytes;
  }
}

function blockOfSix(block: Buffer): Buffer {
  const pages = block.readUInt16LE(2);
  const extentsAt = blockHeadBytes + (block.readUInt16LE(6) + pages) * 4;
  return withVersion(Buffer.concat([block.subarray(0, extentsAt), Buffer.alloc(pages), block.subarray(extentsAt)]));
}

/** A small file has its block inside. */
function fileOfSix(file: Buffer): Buffer {
  const inlineBytes = file.readUInt32LE(inlineBytesAt);
  if (inlineBytes === 0) return withVersion(file);
  const end = fileHeadBytes + inlineBytes;
  const block = blockOfSix(file.subarray(fileHeadBytes, end));
  const whole = Buffer.concat([file.subarray(0, fileHeadBytes), block, file.subarray(end)]);
  whole.writeUInt32LE(block.length, inlineBytesAt);
  return withVersion(whole);
}

/** Throws for a record that is not of the version before: it is none of format 5. */
function withVersion(record: Buffer): Buffer {
  if (record[0] !== 4) throw new Error(`a record of version ${record[0]} in an index of format 5`);
  const out = Buffer.from(record);
  out[0] = 5;
  return out;
}
