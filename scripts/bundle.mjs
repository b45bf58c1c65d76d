// Bundles src/ into dist/: the executable, the lane that Piscina starts in its threads, the benchmarks, and the console.
// Packages are bundled too, which halves the time to start, but for those that carry binaries or start files of their own.
import { chmodSync, copyFileSync, existsSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const entries = {
  main: 'src/main.ts',
  lane: 'src/ingest/lane.ts',
  serving: 'src/serving/thread.ts',
  bench: 'bench/main.ts',
  gateway: 'bench/support/gateway.ts',
  'listing-origin': 'bench/origins/listing-process.ts',
  'demo-origin': 'src/demo/origin/process.ts',
};

// Made aside and put in place at once, so that what is started meanwhile finds either the old files or the new ones.
const dist = join(root, 'dist');
const made = `dist-${process.pid}`;
await build({
  absWorkingDir: root,
  entryPoints: Object.fromEntries(Object.entries(entries).filter(([, path]) => existsSync(join(root, path)))),
  outdir: made,
  bundle: true,
  splitting: true,
  chunkNames: 'chunks/[name]-[hash]',
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  external: ['lmdb', 'piscina', 'pino', 'pino-pretty', 'msgpackr', 'esbuild', 'tinybench', 'playwright-core'],
  // what is CommonJS inside the bundle may ask for modules of Node
  banner: {
    js: "import { createRequire as bundleRequire } from 'node:module'; const require = bundleRequire(import.meta.url);",
  },
  sourcemap: true,
  define: { PRIMED_VERSION: JSON.stringify(version) },
  logLevel: 'warning',
});
chmodSync(join(root, made, 'main.js'), 0o755);
// The console: what a browser gets, as it lies here (src/server/console/assets.ts names the files).
await build({
  absWorkingDir: root,
  entryPoints: { app: 'src/console/page/main.ts', style: 'src/console/page/style.css' },
  outdir: join(made, 'console'),
  bundle: true,
  minify: true,
  format: 'esm',
  platform: 'browser',
  target: ['chrome123', 'firefox120', 'safari17.5'],
  logLevel: 'warning',
});
for (const name of ['index.html', 'icon.svg'])
  copyFileSync(join(root, 'src', 'console', 'page', name), join(root, made, 'console', name));
const old = join(root, `${made}-old`);
if (existsSync(dist)) renameSync(dist, old);
renameSync(join(root, made), dist);
rmSync(old, { recursive: true, force: true });
