/** What a worker says of origins, as text and back; what becomes of what none would say; and what is counted. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { figuresText, parseFigures } from '../../../src/core/member-entries.ts';
import {
  mostOriginsTold,
  type OriginOperation,
  type OriginTrouble,
  type OriginUse,
  originsText,
  originTroubles,
  parseOrigins,
} from '../../../src/core/origin-use.ts';
import { OriginCounts } from '../../../src/origin/origin-counts.ts';
import type { FailureCause } from '../../../src/origin/types.ts';
import { failureCauses } from '../../../src/telemetry/lane-columns.ts';

const count = fc.nat({ max: 1e12 });
const failures = fc
  .tuple(...originTroubles.map(() => count))
  .map(
    (list) => Object.fromEntries(originTroubles.map((one, at) => [one, list[at]!])) as Record<OriginTrouble, number>,
  );
const anyUse: fc.Arbitrary<OriginUse> = fc.record({
  origin: fc.oneof(
    fc.stringMatching(/^[a-z0-9.-]{3,63}$/).map((bucket) => `s3://${bucket}/`),
    fc.string({ maxLength: 30, unit: 'binary' }).map((folder) => `file:///${folder}/`),
  ),
  ...{ requestsPerMinute: count, bytesPerSecond: count, firstByteMs: count },
  failuresPerMinute: failures,
});
const use = {
  ...{ reservedBytes: 0, pinnedBytes: 0, heldBytes: 0, receivedBytesPerSecond: 0, servedBytesPerSecond: 0 },
  ...{ originFailuresPerMinute: 0, originThrottledPerMinute: 0 },
};

test('what is said of origins is heard, over HTTP and in etcd, and a newer worker may say more', () => {
  fc.assert(
    fc.property(fc.array(anyUse, { maxLength: 5 }), (list) => {
      const busiest = list.toSorted((a, b) => b.requestsPerMinute - a.requestsPerMinute);
      const text = originsText(list);
      // It goes into a header.
      expect(text).toMatch(/^[!-~ ]*$/);
      expect(parseOrigins(text)).toEqual(busiest);
      expect(parseOrigins(text.replaceAll(/$| /g, (end) => `,7,8${end}`))).toEqual(list.length === 0 ? [] : busiest);
      const figures = { capacityBytes: 1, freeBytes: 1, files: 1, use };
      expect(parseFigures(figuresText({ ...figures, origins: list }))).toEqual({ ...figures, origins: busiest });
    }),
  );
});

test('of many origins the busiest are told, in a header that any server takes', () => {
  const list = Array.from({ length: 500 }, (_, n) => ({
    ...{ origin: `s3://${'b'.repeat(55)}${n}/`, requestsPerMinute: n, bytesPerSecond: 1e11, firstByteMs: 30_000 },
    failuresPerMinute: { throttled: 1e6, server: 1e6, refused: 1e6, unreachable: 0, slow: 0, broken: 0, changed: 0 },
  }));
  const text = originsText(list);
  expect(text.length).toBeLessThanOrEqual(4000);
  expect(parseOrigins(text).map(({ requestsPerMinute }) => requestsPerMinute)).toEqual(
    Array.from({ length: mostOriginsTold }, (_, n) => 499 - n),
  );
  const long = { ...list[0]!, origin: `file:///${'x'.repeat(5000)}/`, requestsPerMinute: 1e6 };
  expect(parseOrigins(originsText([long, list[1]!]))).toEqual([list[1]]);
});

test('what no worker would say is passed over', () => {
  const right = 's3%3A%2F%2Fb%2F=1,2,3,0,0,0,0,0,0,0';
  const wrong = [
    '',
    '=',
    'x=1',
    '%zz=1,2,3,0,0,0,0,0,0,0',
    'b=1,2,3,0,0,0,0,0,0,0',
    's3%3A%2F%2Fb%2F=1,-2,3,0,0,0,0,0,0,0',
  ];
  for (const entry of wrong) expect([entry, parseOrigins(`${entry} ${right}`).length]).toEqual([entry, 1]);
  fc.assert(fc.property(fc.string(), (text) => void parseOrigins(text)));
});

test('each cause is counted as one kind, and what was called off is no doing of the origin', () => {
  const counts = new OriginCounts();
  for (const cause of failureCauses) counts.failed('s3://b/', { cause });
  counts.answered('s3://b/', { parts: 2, bytes: 10, firstByteMs: 7 });
  counts.answered('s3://none/', { parts: 0, bytes: 0, firstByteMs: 0 });
  const totals = counts.totals.get('s3://b/')!.get('GET')!;
  expect([...counts.totals.keys()]).toEqual(['s3://b/']);
  expect(totals).toMatchObject({ requests: failureCauses.length - 1 + 2, answers: 2, bytes: 10, firstByteMs: 7 });
  expect(Object.values(totals.failures).reduce((a, b) => a + b)).toBe(failureCauses.length - 1);
  expect(totals.failures).toMatchObject({ throttled: 1, server: 1, refused: 2, slow: 2, changed: 2 });
});

test('of a look, that there is no such object is an answer; a listing that is throttled, or not answered, is neither', () => {
  const counts = new OriginCounts();
  const asked = (operation: OriginOperation, cause?: FailureCause, httpStatus?: number): void =>
    counts.asked('s3://b/', operation, { cause, httpStatus, firstByteMs: 5 });
  asked('HEAD', 'missing', 404);
  asked('HEAD', undefined, 200);
  asked('LIST', 'throttled', 503);
  asked('LIST', 'connect');
  asked('LIST', 'cancelled');
  counts.retried('s3://b/', 'LIST');
  const of = (operation: OriginOperation) => counts.totals.get('s3://b/')!.get(operation)!;
  expect(of('HEAD')).toMatchObject({ requests: 2, answers: 2, firstByteMs: 10, retries: 0 });
  expect(of('HEAD').classes).toEqual({ '2xx': 1, '3xx': 0, '4xx': 1, '5xx': 0, none: 0 });
  expect(Object.values(of('HEAD').failures).every((count) => count === 0)).toBe(true);
  expect(of('LIST')).toMatchObject({ requests: 2, answers: 0, firstByteMs: 0, retries: 1 });
  expect(of('LIST').failures).toMatchObject({ throttled: 1, unreachable: 1 });
  expect(of('LIST').classes).toMatchObject({ '5xx': 1, none: 1 });
});
