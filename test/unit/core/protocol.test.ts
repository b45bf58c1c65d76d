import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  clusterProtocol,
  commonProtocol,
  parseRange,
  protocolsApart,
  rangeHeader,
  versionsOf,
  withDefaults,
} from '../../../src/core/protocol.ts';

const range = fc
  .record({ oldest: fc.nat(20), more: fc.nat(3) })
  .map(({ oldest, more }) => ({ oldest, newest: oldest + more }));

test('the version that two nodes speak is the highest that both understand, whoever asks', () => {
  fc.assert(
    fc.property(range, range, (one, other) => {
      const both = versionsOf(one).filter((version) => versionsOf(other).includes(version));
      expect(commonProtocol(one, other)).toBe(both[0]);
      expect(commonProtocol(other, one)).toBe(both[0]);
      expect(parseRange(rangeHeader(one))).toEqual(one);
    }),
  );
});

test('a release and the one before it work together, and one two steps back does not', () => {
  const { oldest, newest } = clusterProtocol;
  expect(newest - oldest).toBe(1);
  expect(commonProtocol(clusterProtocol, { oldest: oldest - 1, newest: oldest })).toBe(oldest);
  expect(commonProtocol(clusterProtocol, { oldest: newest, newest: newest + 1 })).toBe(newest);
  expect(commonProtocol(clusterProtocol, { oldest: oldest - 2, newest: oldest - 1 })).toBeUndefined();
});

test('a refusal names both versions, and whom to upgrade', () => {
  const self = { name: 'this coordinator', release: '2.0', range: { oldest: 5, newest: 6 } };
  const behind = protocolsApart({ name: "worker 'w'", range: { oldest: 2, newest: 2 } }, self);
  expect(behind).toMatch(
    /^Worker 'w' speaks version 2 .*coordinator \(primed 2\.0\) speaks versions 5 to 6.*Bring worker 'w' to/,
  );
  const ahead = protocolsApart({ name: "worker 'w'", release: '3', range: { oldest: 7, newest: 8 } }, self);
  expect(ahead).toContain('Bring this coordinator to a newer primed');
});

test.each(['', '3', '4-3', '-1-2', '1-2-3', ' 1-2', '1234567-1234568'])('%j is no range', (text) => {
  expect(parseRange(text)).toBeUndefined();
});

test('what is absent has its default, within objects too, and what only the other side knows stays', () => {
  const defaults = { bytes: 0, ledger: { cached: 0, lost: 0 }, list: [1] };
  expect(withDefaults(defaults, { ledger: { cached: 7, stolen: 1 }, mood: 'good' })).toEqual({
    bytes: 0,
    ledger: { cached: 7, lost: 0, stolen: 1 },
    list: [1],
    mood: 'good',
  });
  expect(defaults.ledger).toEqual({ cached: 0, lost: 0 });
  for (const heard of [undefined, null, 3, [], { bytes: '7' }, { ledger: 1 }])
    expect(() => withDefaults(defaults, heard)).toThrow(TypeError);
});
