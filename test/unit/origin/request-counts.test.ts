/** What the control plane asks of an origin is counted, each attempt of it, by operation. */
import { afterEach, expect, test } from 'vitest';
import type { OriginOperation } from '../../../src/core/origin-use.ts';
import type { UfsPath } from '../../../src/core/types.ts';
import type { EmbeddedOrigin } from '../../../src/demo/origin/api.ts';
import { OriginCounts } from '../../../src/origin/origin-counts.ts';
import { type OpenedOrigins, openOrigins } from '../../../src/origin/origins.ts';
import { startTestOrigin, testCredentials } from '../../support/origin.ts';

let origin: EmbeddedOrigin;
let origins: OpenedOrigins;
afterEach(async () => {
  await origins.close();
  await origin.close();
});

async function opened(): Promise<(operation: OriginOperation) => unknown> {
  origin = await startTestOrigin();
  const counts = new OriginCounts();
  origins = openOrigins({
    ufs: [{ prefix: 's3://', endpoint: origin.endpoint, region: 'us-east-1', ...testCredentials }],
    timeouts: { connectMs: 5_000, firstByteMs: 10_000, stallMs: 10_000 },
    retry: { attempts: 3 },
    log: { debug() {}, info() {}, warn() {}, error() {} } as never,
    counts,
  });
  return (operation) => counts.totals.get(`s3://${origin.bucket}/`)?.get(operation);
}

test('listings and looks, those that are throttled and tried again, and what is passed through', async () => {
  const of = await opened();
  const path = (key: string): UfsPath => `s3://${origin.bucket}/${key}` as UfsPath;
  await origins.list(path('data/'), {});
  await origins.head(path('data/one.bin'));
  await expect(origins.head(path('data/none'))).rejects.toMatchObject({ code: 'ORIGIN_NOT_FOUND' });
  expect(of('LIST')).toMatchObject({ requests: 1, answers: 1, retries: 0, classes: { '2xx': 1, '5xx': 0 } });
  expect(of('HEAD')).toMatchObject({ requests: 2, answers: 2, classes: { '2xx': 1, '4xx': 1 } });
  // A HEAD says no reason: the first byte is asked for.
  expect(of('GET')).toMatchObject({ requests: 1, answers: 1, classes: { '4xx': 1 } });

  const id = origin.setFault({ fault: { kind: 'status', status: 503 }, operation: 'ListObjectsV2', times: 2 });
  await origins.list(path('data/'), {});
  expect(origin.fired(id)).toBe(2);
  expect(of('LIST')).toMatchObject({
    ...{ requests: 4, answers: 2, retries: 2 },
    classes: { '2xx': 2, '5xx': 2 },
    failures: { throttled: 2, server: 0 },
  });

  const write = { query: {}, headers: {}, length: 0, signal: AbortSignal.timeout(10_000) };
  const nothing = { async *[Symbol.asyncIterator]() {} };
  const answer = await origins.write(path('new'), { ...write, method: 'PUT', body: nothing });
  for await (const _ of answer.body);
  expect(of('PUT')).toMatchObject({ requests: 1, answers: 1, classes: { '2xx': 1 } });
});

/** Stopped once the origin has it, which would answer a while later. */
async function stopped(ask: (signal: AbortSignal) => Promise<unknown>, why: unknown): Promise<unknown> {
  const id = origin.setFault({ fault: { kind: 'latency', delayMs: 30_000 }, operation: 'HeadObject', times: 1 });
  const stop = new AbortController();
  const failure = ask(stop.signal).then(
    () => 'answered',
    (error: unknown) => error,
  );
  await expect.poll(() => origin.fired(id), { timeout: 20_000 }).toBe(1);
  stop.abort(why);
  return failure;
}

test('a limit of time that passes is the doing of the origin, whichever way it was asked; a call that nobody wants is not', async () => {
  const of = await opened();
  const path = `s3://${origin.bucket}/data/one.bin` as UfsPath;
  const version = await origins.head(path);
  const [head, part] = [
    (signal: AbortSignal) => origins.head(path, signal),
    (signal: AbortSignal) => origins.part(version, 1, signal),
  ];
  // As AbortSignal.timeout gives it.
  const passed = () => new DOMException('The operation was aborted due to timeout', 'TimeoutError');
  expect(await stopped(head, passed())).toMatchObject({ code: 'ORIGIN_TIMEOUT' });
  expect(await stopped(part, passed())).toMatchObject({ name: 'AbortError' });
  expect(of('HEAD')).toMatchObject({ requests: 3, answers: 1, failures: { slow: 2 }, classes: { none: 2 } });
  for (const ask of [head, part]) await stopped(ask, new DOMException('x', 'AbortError'));
  expect(of('HEAD')).toMatchObject({ requests: 3 });
});

test('an origin that is not there has not answered', async () => {
  const of = await opened();
  const path = `s3://${origin.bucket}/data/` as UfsPath;
  await origins.list(path, {});
  await origin.close();
  await expect(origins.list(path, {})).rejects.toMatchObject({ code: /ORIGIN_(UNREACHABLE|RESET)/ });
  const list = of('LIST') as { requests: number; answers: number; classes: Record<string, number> };
  expect(list).toMatchObject({ answers: 1, classes: { '2xx': 1 } });
  expect(list.classes.none).toBe(list.requests - 1);
  expect(list.classes.none).toBeGreaterThan(1);
});
