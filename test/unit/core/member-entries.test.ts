/** Entries of workers in a store of keys: what is read of them, and who may take whose place. */
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  discoveryEntry,
  discoveryKey,
  MemberEntries,
  memberKeys,
  parseFigures,
  parseRegistered,
  placeTaken,
  type Registered,
} from '../../../src/core/member-entries.ts';
import { clusterProtocol } from '../../../src/core/protocol.ts';
import type { WorkerId } from '../../../src/core/types.ts';

const id = (name: string): WorkerId => name as WorkerId;
const registered: Registered = {
  instance: '00000000-0000-4000-8000-000000000000',
  host: 'h',
  httpPort: 1,
  s3Port: 2,
  zone: 'r1',
  tls: true,
  version: '1.0',
  protocol: clusterProtocol.oldest,
  registeredAtMs: 5,
  leaseMs: 10,
};
const text = JSON.stringify(registered);

test('what a worker writes is read as it was; anything else is nothing', () => {
  expect(parseRegistered(text)).toEqual(registered);
  const { zone: _, tls: __, ...least } = registered;
  expect(parseRegistered(JSON.stringify(least))).toEqual(least);
  // Of a later version.
  expect(parseRegistered(JSON.stringify({ ...registered, more: 1 }))).toEqual(registered);
  const wrong: Record<string, unknown> = {
    instance: 'x',
    host: 'a b',
    httpPort: 0,
    s3Port: 70_000,
    zone: '',
    tls: 'yes',
    version: '',
    protocol: 1.5,
    registeredAtMs: -1,
    leaseMs: null,
  };
  for (const [name, value] of Object.entries(wrong))
    expect(parseRegistered(JSON.stringify({ ...registered, [name]: value })), name).toBeUndefined();
  expect(parseFigures('{"capacityBytes":1,"freeBytes":2,"files":3}')).toEqual({
    capacityBytes: 1,
    freeBytes: 2,
    files: 3,
  });
  expect(parseFigures('{"capacityBytes":1,"freeBytes":-2,"files":3}')).toBeUndefined();
});

test('no entry, however odd, throws', () => {
  const entries = new MemberEntries();
  const key = fc.oneof(
    fc.string(),
    fc.constantFrom('known/a', 'members/a', 'figures/a', 'drains/a', 'addresses/a:1', 'known/'),
  );
  fc.assert(
    fc.property(key, fc.oneof(fc.string(), fc.json()), (name, value) => {
      entries.put(name, value, 1, 1);
      entries.delete(name, 2);
      entries.rows(3);
    }),
  );
});

test('a worker is a member while its entry is that of the registration that counts', () => {
  const entries = new MemberEntries();
  const state = () => entries.row(id('w'), 100)?.state;
  expect(state()).toBeUndefined();
  entries.put('members/w', text, 7, 50);
  expect(state()).toBeUndefined();
  entries.put('known/w', text, 7, 50);
  expect(entries.row(id('w'), 100)).toMatchObject({
    epoch: 7,
    state: 'LIVE',
    lastSeenMs: 100,
    leaseEndsMs: 110,
    files: 0,
  });
  entries.put('drains/w', '', 8, 51);
  expect(state()).toBe('DRAINING');
  entries.put('figures/w', '{"capacityBytes":1,"freeBytes":2,"files":3}', 9, 52);
  entries.delete('members/w', 60);
  entries.delete('figures/w', 60);
  expect(entries.row(id('w'), 100)).toMatchObject({
    state: 'LOST',
    drains: true,
    files: 3,
    lastSeenMs: 60,
    leaseEndsMs: 60,
  });
  entries.put('members/w', text, 10, 70);
  // Not before the other half of the same write: `known` is still that of the last one.
  expect(state()).toBe('LOST');
  entries.put('known/w', text, 10, 70);
  expect(state()).toBe('DRAINING');
  entries.delete('drains/w', 80);
  entries.put('known/w', JSON.stringify({ ...registered, protocol: clusterProtocol.newest + 1 }), 11, 90);
  entries.put('members/w', JSON.stringify({ ...registered, protocol: clusterProtocol.newest + 1 }), 11, 90);
  expect(state()).toBe('LOST');
  expect(entries.strangers()).toEqual(['w']);
});

test('an id is held by one address, and an address by one id', () => {
  const member = { value: registered, revision: 1 };
  const here = { host: 'h', httpPort: 1 };
  const there = { host: 'h', httpPort: 2 };
  expect(placeTaken(id('w'), here, { member: undefined, holder: undefined })).toBeUndefined();
  expect(placeTaken(id('w'), here, { member, holder: id('w') })).toBeUndefined();
  expect(placeTaken(id('w'), there, { member: undefined, holder: id('v') })).toBe('v');
  expect(() => placeTaken(id('w'), there, { member, holder: undefined })).toThrow(
    expect.objectContaining({
      code: 'WORKER_CONFLICT',
      message: expect.stringMatching(/'w' at h:2 .*: h:1 is registered/),
    }),
  );
});

test('keys and the entry for clients of Alluxio', () => {
  expect(memberKeys.addresses({ host: 'fd00::7', httpPort: 1 })).toBe('addresses/[fd00::7]:1');
  expect(discoveryKey('lab', id('w'))).toBe('/ServiceDiscovery/lab/w');
  const { Identity, WorkerNetAddress } = JSON.parse(discoveryEntry(id('w'), { host: 'h', httpPort: 28_080 }));
  // A UUID of version 3 of the name, without a name space.
  const md5 = createHash('md5').update('w').digest('hex');
  const variant = ((Number.parseInt(md5[16]!, 16) & 0x3) | 0x8).toString(16);
  expect(Identity).toEqual({
    version: 1,
    identifier: `${md5.slice(0, 12)}3${md5.slice(13, 16)}${variant}${md5.slice(17)}`,
  });
  expect(WorkerNetAddress).toEqual({
    Host: 'h',
    ContainerHost: '',
    RpcPort: 29999,
    DataPort: 29997,
    SecureRpcPort: 0,
    NettyDataPort: 29997,
    WebPort: 30000,
    DomainSocketPath: '',
    HttpServerPort: 28080,
  });
});
