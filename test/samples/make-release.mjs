/**
 * Makes the stored sample of a release: `node test/samples/make-release.mjs <checkout> <output.tar.br>`, where the checkout is one of
 * an earlier release with its `dist/` built (`git worktree add DIR COMMIT`, `npm ci`, `npm run setup` there). In it are the daemon as
 * that release builds it, and the sources of its addon. The packages that the bundle leaves outside are those of the day.
 *
 * release-protocol-3.tar.br was made from a528c99, the last commit that speaks version 3 of the cluster's protocol and no other.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { brotliCompressSync, constants } from 'node:zlib';

const [checkout, output] = process.argv.slice(2);
const from = resolve(checkout);
const dir = mkdtempSync(join(tmpdir(), 'primed-release-'));
/** Not for a daemon. */
const others = /\.map$|\/(bench|demo-origin|gateway|listing-origin)\.js$|\/console(\/|$)/;
cpSync(join(from, 'dist'), join(dir, 'dist'), { recursive: true, filter: (path) => !others.test(path) });
for (const path of ['package.json', 'native/Makefile', 'native/src', 'native/napi'])
  cpSync(join(from, path), join(dir, path), { recursive: true });
// The same bytes each time.
const plain = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--mode=a=rX,u+w'];
const tar = execFileSync('tar', ['-c', ...plain, '-C', dir, '.'], { maxBuffer: 2 ** 30 });
rmSync(dir, { recursive: true });
const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24 };
const packed = brotliCompressSync(tar, { params });
writeFileSync(output, packed);
console.log(`${output}: ${packed.length} bytes of ${tar.length}`);
