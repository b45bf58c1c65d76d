/** The embedded origin in a process of its own, for tests whose own event loop must not carry it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type { OriginOptions, SpawnedOrigin } from '../../src/demo/origin/api.ts';
import { spawnOrigin } from '../../src/demo/origin/spawn.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Bundles the sources as they are now, so that a test never runs an old build. `close` removes the bundle as well. */
export async function spawnTestOrigin(options: OriginOptions = {}): Promise<SpawnedOrigin> {
  const folder = await mkdtemp(join(tmpdir(), 'primed-origin-'));
  const removeFolder = () => rm(folder, { recursive: true, force: true });
  try {
    const script = join(folder, 'demo-origin.mjs');
    await build({
      absWorkingDir: root,
      entryPoints: ['src/demo/origin/process.ts'],
      outfile: script,
      bundle: true,
      format: 'esm',
      platform: 'node',
      target: 'node20.19',
      logLevel: 'error',
    });
    const origin = await spawnOrigin(options, { script });
    const close = async (): Promise<void> => {
      try {
        await origin.close();
      } finally {
        await removeFolder();
      }
    };
    return { ...origin, close };
  } catch (error) {
    await removeFolder();
    throw error;
  }
}
