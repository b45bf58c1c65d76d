/** An endpoint that answers 200 and is no S3 server: its pages are neither an empty bucket, nor the end of a listing. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { call, ended, submit } from '../support/api.ts';
import type { Daemon } from '../support/daemon.ts';
import { openPlace, type Place } from '../support/node.ts';

const html = '<html><body><h1>Welcome</h1></body></html>';
const firstPage = `<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult><Name>data</Name><Prefix></Prefix><MaxKeys>1000</MaxKeys><KeyCount>1</KeyCount><IsTruncated>true</IsTruncated>
<NextContinuationToken>more</NextContinuationToken><Contents><Key>a</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>
<ETag>&quot;0123456789abcdef0123456789abcdef&quot;</ETag><Size>5</Size></Contents></ListBucketResult>`;

let server: Server;
let place: Place;
let daemon: Daemon;
/** What was asked for, with its answer. */
let asked: { target: string; answered: 'html' | 'listing' }[] = [];
let listsOnce = false;

beforeAll(async () => {
  server = createServer((request, response) => {
    const target = request.url ?? '';
    const listing = listsOnce && target.includes('list-type=2') && !target.includes('continuation-token=');
    asked.push({ target, answered: listing ? 'listing' : 'html' });
    response.setHeader('content-type', listing ? 'application/xml' : 'text/html');
    response.end(request.method === 'HEAD' ? undefined : listing ? firstPage : html);
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  place = openPlace('not-s3');
  daemon = await place.start('', {
    env: {
      AWS_ENDPOINT_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test',
    },
  });
});
afterEach(() => {
  asked = [];
  listsOnce = false;
});
afterAll(async () => {
  await place?.close();
  server?.close();
});

async function failed(path: string, options: object = {}): Promise<string> {
  expect((await submit(daemon.api, path, options)).status).toBe(200);
  const report = await ended(daemon.api, path);
  expect(report.mJobState).toBe('FAILED');
  return report.reason;
}

it.each([
  ['a bucket', 's3://data/', 'is no S3 listing'],
  ['a prefix', 's3://data/dir/', 'is no S3 listing'],
  ['an object', 's3://data/dir/x.bin', 'has no ETag or no length'],
])('%s fails by name', async (_what, path, why) => {
  const reason = await failed(path);
  expect(asked.map(({ answered }) => answered)).toContain('html');
  expect(reason).toBe(
    `ORIGIN_PROTOCOL: ${path}: the answer ${why}: the endpoint, or a proxy before it, is not an S3 server (HTTP 200)`,
  );
  expect((await call(daemon.api, 'GET', `/api/v1/fs/stat?path=${path}`)).status).toBe(404);
});

it.each([{}, { partialListing: 'true' }])(
  'a listing that breaks off into one fails as a whole (%j)',
  async (options) => {
    listsOnce = true;
    const reason = await failed('s3://data/', options);
    expect(asked.filter(({ answered }) => answered === 'listing')).toHaveLength(1);
    expect(asked.some(({ target, answered }) => answered === 'html' && target.includes('continuation-token='))).toBe(
      true,
    );
    expect(reason).toContain('ORIGIN_PROTOCOL: s3://data/: the answer is no S3 listing');
  },
);
