import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runReceiver } from '../../bench/ceilings/receiver.ts';
import { type NginxOrigin, startNginx } from '../../bench/origins/nginx.ts';
import { type Dataset, makeDataset } from '../../bench/support/dataset.ts';
import { openWorkspace } from '../../bench/support/workspace.ts';
import { alignUp, MiB } from '../../src/core/units.ts';

const workspace = openWorkspace();
const sizeBytes = 20 * MiB + 12_345;
let dataset: Dataset;
let small: Dataset;
let origin: NginxOrigin;

beforeAll(async () => {
  const root = workspace.folder('origin');
  dataset = makeDataset({ root, bucket: 'large', count: 3, objectBytes: sizeBytes });
  small = makeDataset({ root, bucket: 'small', count: 2500, objectBytes: 100 });
  origin = await startNginx(workspace, { root, datasets: [dataset, small] });
});
afterAll(() => workspace.close());

test('the C receiver writes exactly the bytes of the objects', () => {
  const file = join(workspace.folder('received'), 'file');
  const transfer = runReceiver({ port: origin.port, dataset, file });
  expect(transfer.bytes).toBe(dataset.totalBytes);
  expect(transfer.seconds).toBeGreaterThan(0);
  const received = readFileSync(file);
  dataset.objects.forEach(({ key }, i) => {
    const at = i * alignUp(sizeBytes);
    const original = readFileSync(join(dataset.root, dataset.bucket, key));
    expect(received.subarray(at, at + sizeBytes).equals(original), key).toBe(true);
  });
});

test('the C receiver counts what it drops, and fails on an object that is not there', () => {
  expect(runReceiver({ port: origin.port, dataset }).bytes).toBe(dataset.totalBytes);
  const missing = { ...dataset, objects: [{ key: 'nothing', bytes: 10 }] };
  expect(() => runReceiver({ port: origin.port, dataset: missing })).toThrow('unexpected answer: HTTP/1.1 404');
});

const keysOf = (xml: string) => [...xml.matchAll(/<Key>([^<]+)<\/Key>/g)].map((match) => match[1]!);

test.each(['token', 'start-after'])('the origin lists every object once, page after page by %s', async (way) => {
  const keys: string[] = [];
  let query = '';
  for (;;) {
    const xml = await (await fetch(`${origin.endpoint}/small?list-type=2${query}`)).text();
    keys.push(...keysOf(xml));
    const token = /<NextContinuationToken>([^<]+)</.exec(xml)?.[1];
    if (token === undefined) break;
    query = way === 'token' ? `&continuation-token=${token}` : `&start-after=${encodeURIComponent(keys.at(-1)!)}`;
  }
  expect(keys).toEqual(small.objects.map(({ key }) => key));
});

test('the ETags of the listing are those of the objects', async () => {
  const xml = await (await fetch(`${origin.endpoint}/large?list-type=2`)).text();
  const listed = /<ETag>&quot;([^&]+)&quot;<\/ETag>/.exec(xml)?.[1];
  const head = await fetch(`${origin.endpoint}/large/${dataset.objects[0]!.key}`, { method: 'HEAD' });
  expect(head.headers.get('etag')).toBe(`"${listed}"`);
});
