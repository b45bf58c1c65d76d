// Bundles src/ into dist/: the executable, the lane that Piscina starts in its threads, and the benchmarks.
// Packages stay external: lmdb carries a binary, and piscina starts a file of its own.
import { chmodSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const entries = {
  main: 'src/main.ts',
  lane: 'src/ingest/lane.ts',
  bench: 'bench/main.ts',
  'demo-origin': 'src/demo/origin/process.ts',
};

rmSync(join(root, 'dist'), { recursive: true, force: true });
await build({
  absWorkingDir: root,
  entryPoints: Object.fromEntries(Object.entries(entries).filter(([, path]) => existsSync(join(root, path)))),
  outdir: 'dist',
  bundle: true,
  splitting: true,
  chunkNames: 'chunks/[name]-[hash]',
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  packages: 'external',
  sourcemap: true,
  define: { PRIMED_VERSION: JSON.stringify(version) },
  logLevel: 'warning',
});
if (existsSync(join(root, 'dist', 'main.js'))) chmodSync(join(root, 'dist', 'main.js'), 0o755);
