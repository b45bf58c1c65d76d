/** Bytes of an SSD that are not what was written. */
import { closeSync, openSync, readdirSync, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { MiB } from '../../src/core/units.ts';

/** Puts `bytes` in the place of what a file has at `offset`. */
export function overwrite(path: string, offset: number, bytes: Uint8Array): void {
  const fd = openSync(path, 'r+');
  try {
    writeSync(fd, bytes, 0, bytes.length, offset);
  } finally {
    closeSync(fd);
  }
}

/** Turns one bit wherever these bytes, which begin at a grain, lie in the files of a store. Resolves with how often. */
export async function rot(storeDir: string, needle: Buffer): Promise<number> {
  let turned = 0;
  for (const name of readdirSync(storeDir)) {
    const file = await open(join(storeDir, name), 'r+');
    const block = Buffer.alloc(8 * MiB);
    for (let at = 0; ; at += block.length) {
      const { bytesRead } = await file.read(block, 0, block.length, at);
      if (bytesRead === 0) break;
      const found = block.subarray(0, bytesRead).indexOf(needle);
      if (found < 0) continue;
      await file.write(Buffer.from([needle[100]! ^ 1]), 0, 1, at + found + 100);
      turned += 1;
    }
    await file.sync();
    await file.close();
  }
  return turned;
}
