import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll } from 'vitest';

/** A folder of its own below `parent`, gone when the test file ends. /var/tmp lies on a disk, /dev/shm is tmpfs. */
export function makeFolder(parent: '/var/tmp' | '/dev/shm' = '/var/tmp'): string {
  const folder = mkdtempSync(join(parent, 'primed-platform-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
