import { expect, it } from 'vitest';
import type { WorkerId } from '../../../src/core/types.ts';
import { MiB } from '../../../src/core/units.ts';
import { maySendOn, sentOn } from '../../../src/server/s3/redirect.ts';

const peer = { id: 'w2' as WorkerId, url: 'http://10.0.0.2:28080', s3Port: 29998, takes: true };
const range = { offset: 5, length: MiB };

it('only who signs nothing, and was not sent already, may be sent on', () => {
  const query = (text: string): ReadonlyMap<string, string> => new Map(new URLSearchParams(text));
  expect(maySendOn({}, query('versionId=3'))).toBe(true);
  expect(maySendOn({ authorization: 'AWS4-HMAC-SHA256 …' }, query(''))).toBe(false);
  for (const signed of ['X-Amz-Signature=1', 'X-Amz-Credential=1', 'Signature=1&AWSAccessKeyId=2', 'x-primed-sent=1'])
    expect([signed, maySendOn({}, query(signed))]).toEqual([signed, false]);
});

it('the other address has the target, and a mark against going on for ever', () => {
  expect(sentOn(peer, range, { target: '/b/k%20x', tls: false })).toBe('http://10.0.0.2:29998/b/k%20x?x-primed-sent=1');
  expect(sentOn({ ...peer, url: 'https://[::1]:1' }, range, { target: '/b/k?a=1', tls: true })).toBe(
    'https://[::1]:29998/b/k?a=1&x-primed-sent=1',
  );
  expect(sentOn({ ...peer, s3Port: undefined } as never, range, { target: '/b/k', tls: false })).toBeUndefined();
  expect(sentOn(undefined, range, { target: '/b/k', tls: false })).toBeUndefined();
  expect(sentOn(peer, { offset: 0, length: 100 }, { target: '/b/k', tls: false })).toBeUndefined();
});
