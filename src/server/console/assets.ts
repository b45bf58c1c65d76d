/**
 * The page itself, as the build has left it in dist/console. It holds nothing of the cluster: what it shows it asks for with
 * the token of who looks at it, so that it may be given to everybody.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import type { FastifyPluginCallback } from 'fastify';
import { Type } from 'typebox';
import { PrimedError } from '../../core/errors.ts';
import { answersOf, documented } from '../schemas.ts';

interface Asset {
  readonly type: string;
  readonly etag: string;
  readonly plain: Buffer;
  readonly packed: Buffer;
}

const files: Readonly<Record<string, { readonly name: string; readonly type: string }>> = {
  '/console/': { name: 'index.html', type: 'text/html' },
  '/console/app.js': { name: 'app.js', type: 'text/javascript' },
  '/console/style.css': { name: 'style.css', type: 'text/css' },
  '/console/icon.svg': { name: 'icon.svg', type: 'image/svg+xml' },
};

/** Nothing from anywhere else, no script or style but the two files, and no string ever becomes a part of the page. */
const policy = [
  "default-src 'none'",
  ...["script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'"],
  ...["base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"],
].join('; ');

const headers = {
  'content-security-policy': policy,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  // Asked for again each time, and answered by 304 while the version is the same.
  'cache-control': 'no-cache',
  vary: 'accept-encoding',
};

export const consoleAssets: FastifyPluginCallback = (app, _options, done) => {
  documented(app);
  const shared = { config: { open: true }, exposeHeadRoute: false } as const;
  const docs = { tags: ['console'], security: [] };
  for (const [url, { name, type }] of Object.entries(files)) {
    let asset: Asset | undefined;
    const response = answersOf({ description: 'The file', content: { [type]: { schema: Type.String() } } });
    app.get(url, { ...shared, schema: { ...docs, summary: `The console: ${name}`, response } }, (request, reply) => {
      asset ??= readAsset(name, type);
      void reply.headers(headers).header('etag', asset.etag);
      if (request.headers['if-none-match'] === asset.etag) return reply.code(304).send();
      void reply.type(`${type}; charset=utf-8`);
      if (!takesGzip(request.headers['accept-encoding'])) return reply.send(asset.plain);
      return reply.header('content-encoding', 'gzip').send(asset.packed);
    });
  }
  for (const url of ['/', '/console'])
    app.get(
      url,
      { ...shared, schema: { ...docs, summary: 'To the console', response: { 302: { description: 'It is there' } } } },
      (_request, reply) => reply.redirect('/console/'),
    );
  done();
};

export function takesGzip(accepted: string | undefined): boolean {
  return /(?:^|,)\s*gzip\s*(?:,|$|;\s*q=(?:1|0\.\d*[1-9]))/i.test(accepted ?? '');
}

function readAsset(name: string, type: string): Asset {
  const plain = readFileSync(join(assetFolder(), name));
  const etag = `"${createHash('sha256').update(type).update(plain).digest('base64url').slice(0, 22)}"`;
  return { type, etag, plain, packed: gzipSync(plain, { level: 9 }) };
}

/** dist/console, from wherever this module runs. */
function assetFolder(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const candidate = join(folder, 'dist', 'console');
    if (existsSync(candidate)) return candidate;
    if (folder === dirname(folder))
      throw new PrimedError('INTERNAL', 'dist/console is missing: run `npm run build`, or install the package again.');
  }
}
