/** The client of etcd against a real one: calls, fail-over, leases. Watches: etcd-watch.test.ts. */
import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import { lookAtEtcd } from '../../src/etcd-look.ts';
import { clientOf, type EtcdServer, serverFor, startEtcd } from '../support/etcd.ts';

const eventually = { timeout: 30_000, interval: 10 };

describe('one member', () => {
  let server: EtcdServer;
  beforeAll(async () => {
    server = await startEtcd();
    return () => server.close();
  });

  test('what is put is there, with its revisions, until it is deleted', async () => {
    const etcd = clientOf(server.endpoints);
    expect(await etcd.get('/a/x')).toBeUndefined();
    const first = await etcd.put('/a/x', 'ä');
    const second = await etcd.put('/a/x', Buffer.from([0, 255, 10]));
    expect(await etcd.get('/a/x')).toEqual({
      key: '/a/x',
      value: Buffer.from([0, 255, 10]),
      createRevision: first,
      modRevision: second,
      version: 2,
      lease: undefined,
    });
    expect(await etcd.delete('/a/x')).toBe(true);
    expect(await etcd.delete('/a/x')).toBe(false);
    expect(await etcd.get('/a/x')).toBeUndefined();
  });

  test('an examination finds the members of the cluster, and says what it could not read', async () => {
    const etcd = clientOf(server.endpoints);
    const about = { instance: randomUUID(), host: 'h', httpPort: 1, s3Port: 2, version: '9.9.9', protocol: 4 };
    const entry = { ...about, registeredAtMs: 1, leaseMs: 10_000 };
    await etcd.put('/look/c/workers/members/w1', JSON.stringify(entry));
    await etcd.put('/look/c/workers/members/w2', 'no entry');
    await etcd.put('/look/c/workers/known/w3', JSON.stringify(entry));
    const settings = { endpoints: server.endpoints, prefix: '/look/c/', timeoutMs: 5_000, coordinatorLeaseMs: 5_000 };
    const { members } = await lookAtEtcd(settings);
    expect([...members]).toEqual([
      ['w1', '9.9.9'],
      ['w2', 'an entry that cannot be read'],
    ]);
    const nobody = { ...settings, endpoints: ['http://127.0.0.1:1'], timeoutMs: 500 };
    await expect(lookAtEtcd(nobody)).rejects.toMatchObject({ code: 'ETCD_UNAVAILABLE' });
  });

  test('a prefix is read whole and of one revision, whatever its size; its neighbours are not', async () => {
    const etcd = clientOf(server.endpoints);
    const keys = Array.from({ length: 40 }, (_, index) => `/big/${String(index).padStart(3, '0')}`);
    // Together more than one message of gRPC may hold: the client has to ask in pieces.
    for (const key of keys) await etcd.put(key, Buffer.alloc(400 * 1024, key));
    await etcd.put('/bih', 'not');
    await etcd.put('/big', 'not');
    const all = await etcd.range('/big/');
    expect(all.entries.map(({ key }) => key)).toEqual(keys);
    expect(all.entries.every(({ key, value }) => value.equals(Buffer.alloc(400 * 1024, key)))).toBe(true);
    expect(all.more).toBe(false);
    await etcd.delete(keys[0]!);
    expect((await etcd.range('/big/', { revision: all.revision, keysOnly: true })).entries).toHaveLength(40);
    const some = await etcd.range('/big/', { limit: 3, keysOnly: true });
    expect(some).toMatchObject({ more: true });
    expect(some.entries.map(({ key, value }) => [key, value.length])).toEqual(keys.slice(1, 4).map((key) => [key, 0]));
    await etcd.txn({ compare: [], success: [{ deletePrefix: '/big/' }] });
  });

  test('a transaction does the one or the other, and says what it did', async () => {
    const etcd = clientOf(server.endpoints);
    const made = await etcd.txn({
      compare: [{ key: '/t/x', exists: false }],
      success: [{ put: '/t/x', value: '1' }, { get: '/t/x' }],
    });
    expect(made).toMatchObject({ succeeded: true, results: [{ deleted: 0 }, { entries: [{ version: 1 }] }] });
    const again = await etcd.txn({
      compare: [{ key: '/t/x', exists: false }],
      success: [{ put: '/t/x', value: '2' }],
      failure: [{ range: '/t/' }],
    });
    expect(again).toMatchObject({
      succeeded: false,
      results: [{ entries: [{ key: '/t/x', modRevision: made.revision }] }],
    });
    const compare = [
      { key: '/t/x', exists: true },
      { key: '/t/x', modRevision: made.revision },
      { key: '/t/x', createRevision: made.revision },
      { key: '/t/x', value: '1' },
      { key: '/t/x', lease: '0' },
    ];
    for (const one of compare) expect((await etcd.txn({ compare: [one] })).succeeded).toBe(true);
    const wrong = [
      { key: '/t/x', exists: false },
      { key: '/t/x', modRevision: made.revision + 1 },
      { key: '/t/x', createRevision: made.revision + 1 },
      { key: '/t/x', value: '2' },
      { key: '/t/x', lease: '7' },
    ];
    for (const one of wrong) expect((await etcd.txn({ compare: [...compare, one] })).succeeded).toBe(false);
    const gone = await etcd.txn({ compare, success: [{ delete: '/t/x' }, { deletePrefix: '/t/' }] });
    expect(gone.results.map(({ deleted }) => deleted)).toEqual([1, 0]);
  });

  test('a revision that etcd has forgotten is an error with a name', async () => {
    const etcd = clientOf(server.endpoints);
    const old = await etcd.put('/c', '1');
    const now = await etcd.put('/c', '2');
    server.ctl('compact', String(now));
    await expect(etcd.range('/c', { revision: old })).rejects.toMatchObject({ code: 'ETCD_COMPACTED' });
  });

  test('a lease is renewed for as long as it is held; revoked, its keys are gone', async () => {
    const etcd = clientOf(server.endpoints);
    const lease = await etcd.grantLease(2_000);
    await etcd.put('/l/x', '1', { lease: lease.id });
    expect((await etcd.get('/l/x'))?.lease).toBe(lease.id);
    const firstMs = lease.validUntilMs;
    await expect.poll(() => lease.validUntilMs - firstMs, eventually).toBeGreaterThan(lease.ttlMs);
    expect(lease.valid()).toBe(true);
    expect(await etcd.get('/l/x')).toBeDefined();
    await lease.revoke();
    expect(lease.valid()).toBe(false);
    expect(await etcd.get('/l/x')).toBeUndefined();
    await expect(etcd.put('/l/x', '1', { lease: lease.id })).rejects.toMatchObject({ code: 'ETCD_LEASE_ENDED' });
  });

  test('a lease that somebody else ends is lost, once', async () => {
    const etcd = clientOf(server.endpoints);
    const lease = await etcd.grantLease(2_000);
    const reasons: string[] = [];
    lease.onLost((reason) => reasons.push(reason));
    server.ctl('lease', 'revoke', BigInt(lease.id).toString(16));
    await expect.poll(() => reasons, eventually).toEqual(['etcd does not know the lease any more']);
    expect(lease.valid()).toBe(false);
    lease.onLost((reason) => reasons.push(reason));
    expect(reasons).toHaveLength(2);
  });

  test('a lease that is not renewed ends in etcd by itself', async () => {
    const etcd = clientOf(server.endpoints);
    const lease = await etcd.grantLease(2_000);
    await etcd.put('/l/y', '1', { lease: lease.id });
    lease.abandon();
    await expect.poll(() => etcd.get('/l/y'), eventually).toBeUndefined();
  });
});

test('a lease is over here before etcd gives it to others, when etcd is silent', async () => {
  const server = await serverFor();
  const etcd = clientOf(server.endpoints, { timeoutMs: 1_000 });
  const lease = await etcd.grantLease(2_000);
  await etcd.put('/l/x', '1', { lease: lease.id });
  const lost: number[] = [];
  lease.onLost(() => lost.push(performance.now()));
  const [member] = server.members;
  member!.freeze();
  const frozenMs = performance.now();
  await expect.poll(() => lost.length, eventually).toBe(1);
  expect(lost[0]! - frozenMs).toBeLessThanOrEqual(lease.ttlMs + 500);
  expect(lease.valid()).toBe(false);
  await expect(etcd.get('/l/x')).rejects.toMatchObject({ code: 'ETCD_UNAVAILABLE', status: 'UNAVAILABLE' });
  member!.thaw();
  await expect.poll(() => etcd.get('/l/x').catch(() => 'away'), eventually).toBeUndefined();
});

test('an etcd that stops is an error that says where and why; when it is back, all goes on', async () => {
  const server = await serverFor();
  const etcd = clientOf(server.endpoints);
  await etcd.put('/x', '1');
  await server.members[0]!.stop();
  await expect(etcd.get('/x')).rejects.toMatchObject({
    code: 'ETCD_UNAVAILABLE',
    message: expect.stringContaining(server.endpoints[0]!),
    facts: { reason: expect.stringMatching(/ECONNREFUSED|other side closed/), maybeDone: false },
  });
  await expect(etcd.put('/x', '2')).rejects.toMatchObject({ code: 'ETCD_UNAVAILABLE', facts: { maybeDone: false } });
  await server.members[0]!.start();
  expect((await etcd.get('/x'))?.value.toString()).toBe('1');
});

test('a write that was sent and not answered may have been done, and is not done twice', async () => {
  const server = await serverFor({ members: 3 });
  const etcd = clientOf(server.endpoints, { timeoutMs: 3_000 });
  await etcd.put('/x', '1');
  server.members[0]!.freeze();
  await expect(etcd.put('/x', '2')).rejects.toMatchObject({ code: 'ETCD_UNAVAILABLE', facts: { maybeDone: true } });
  await expect.poll(() => etcd.put('/x', '3').catch(String), eventually).toBeTypeOf('number');
  server.members[0]!.thaw();
  expect((await etcd.get('/x'))?.value.toString()).toBe('3');
});

test('a dead endpoint costs one time-out, then another one is asked first', async () => {
  const server = await serverFor({ members: 3 });
  const etcd = clientOf(server.endpoints, { timeoutMs: 3_000 });
  await etcd.put('/x', '1');
  server.members[0]!.freeze();
  // Where it led the others, these choose another leader first.
  await expect.poll(() => etcd.get('/x').then(() => true, String), eventually).toBe(true);
  const startedMs = performance.now();
  for (let turn = 0; turn < 20; turn++) await etcd.get('/x');
  // Of 1 s each they would be 20.
  expect(performance.now() - startedMs).toBeLessThan(10_000);
});

test('one member of three may be lost, two may not, and a member without a leader says so', async () => {
  const server = await serverFor({ members: 3 });
  const etcd = clientOf(server.endpoints);
  await etcd.put('/x', '1');
  await server.members[0]!.kill();
  await expect.poll(() => etcd.put('/x', '2').catch(String), eventually).toBeTypeOf('number');
  await server.members[1]!.kill();
  await expect.poll(() => etcd.put('/x', '3').catch((error: Error) => error.message), eventually).toMatch(/no leader/);
  await server.members[1]!.start();
  await expect.poll(() => etcd.put('/x', '4').catch(String), eventually).toBeTypeOf('number');
  expect((await etcd.get('/x'))?.value.toString()).toBe('4');
});

test('what is no etcd is told from one', async () => {
  expect(() => clientOf(['127.0.0.1:2379'])).toThrow(/write http:\/\/HOST:PORT/);
});
