/** Verdicts about a node, from facts alone. */
import { expect, test } from 'vitest';
import { PrimedError } from '../../../src/core/errors.ts';
import { type Finding, worstOf } from '../../../src/core/finding.ts';
import { GiB, MiB } from '../../../src/core/units.ts';
import {
  judgeCertificate,
  judgeClock,
  judgeDiskEngine,
  judgeLockedMemory,
  judgeMemory,
  judgeNode,
  judgeOpenFiles,
  judgeOrigin,
  judgePort,
  judgeRevocations,
  judgeRoom,
  judgeStore,
  judgeVersions,
} from '../../../src/doctor/judge.ts';
import { limitsOf } from '../../../src/doctor/machine.ts';

const dayMs = 86_400_000;
const port = { setting: 'api.listen', address: '127.0.0.1:19999', inUse: false, daemonRuns: false };
const store = {
  ...{ dir: '/s', path: '/s/store.dat', wantedBytes: GiB, fileBytes: GiB },
  ...{ allocatedBytes: GiB, headBytes: GiB, direct: true },
};

test.each<[string, Finding, Finding['level']]>([
  ['files unlimited', judgeOpenFiles(undefined), 'ok'],
  ['files few', judgeOpenFiles(1024), 'warn'],
  ['locked memory with io_uring', judgeLockedMemory(16 * 1024, 'io_uring'), 'warn'],
  ['locked memory with threads', judgeLockedMemory(0, 'threads'), 'ok'],
  ['io_uring there', judgeDiskEngine('auto', { engine: 'io_uring' }), 'ok'],
  ['io_uring missing, wanted', judgeDiskEngine('io_uring', { engine: 'threads', reason: 'EPERM' }), 'fail'],
  ['io_uring missing, not needed', judgeDiskEngine('auto', { engine: 'threads', reason: 'EPERM' }), 'warn'],
  ['io_uring missing, not wanted', judgeDiskEngine('threads', { engine: 'threads', reason: 'EPERM' }), 'ok'],
  ['clock right', judgeClock('origin', -400), 'ok'],
  ['clock behind', judgeClock('origin', -60_000), 'warn'],
  ['clock far ahead', judgeClock('origin', 20 * 60_000), 'fail'],
  ['certificate long', judgeCertificate('tls.cert_file', '/c', 60 * dayMs), 'ok'],
  ['certificate short', judgeCertificate('tls.cert_file', '/c', 3 * dayMs), 'warn'],
  ['certificate over', judgeCertificate('tls.cert_file', '/c', -1), 'fail'],
  ['list of revoked certificates long', judgeRevocations('people', 3, 2 * dayMs), 'ok'],
  ['list of revoked certificates for ever', judgeRevocations('people', 3, undefined), 'ok'],
  ['list of revoked certificates short', judgeRevocations('people', 3, 3_600_000), 'warn'],
  ['list of revoked certificates over', judgeRevocations('people', 3, 0), 'fail'],
  ['memory fits', judgeMemory(GiB, GiB, 8 * GiB), 'ok'],
  ['memory does not fit', judgeMemory(4 * GiB, 4 * GiB, 8 * GiB), 'fail'],
  ['Node old', judgeNode('20.18.3'), 'fail'],
  ['Node least', judgeNode('20.19.0'), 'ok'],
  ['Node new', judgeNode('22.1.0'), 'ok'],
  ['versions differ', judgeVersions('1.0.0', new Map([['w1', '0.9.0']])), 'warn'],
  ['versions agree', judgeVersions('1.0.0', new Map([['w1', '1.0.0']])), 'ok'],
  ['disk full', judgeRoom('/d', 10 * MiB, GiB), 'warn'],
  ['port free', judgePort(port), 'ok'],
  ['port ours', judgePort({ ...port, inUse: true, daemonRuns: true }), 'ok'],
  ["port another's", judgePort({ ...port, inUse: true }), 'fail'],
  ['port not open by the daemon that runs', judgePort({ ...port, daemonRuns: true }), 'fail'],
  ['address of another machine', judgePort({ ...port, problem: 'EADDRNOTAVAIL' }), 'fail'],
])('%s', (_name, finding, level) => {
  expect(finding.level).toBe(level);
  expect(finding.remedy !== undefined).toBe(level !== 'ok');
});

test('a store is cut, of another size, has holes, or lies where there are no direct transfers', () => {
  expect(judgeStore(store).map(({ level }) => level)).toEqual(['ok', 'ok', 'ok']);
  expect(worstOf(judgeStore({ ...store, fileBytes: GiB / 2, allocatedBytes: GiB / 2 }))).toBe('fail');
  expect(judgeStore({ ...store, wantedBytes: 2 * GiB })[0]).toMatchObject({
    level: 'fail',
    what: expect.stringMatching('configuration'),
  });
  expect(judgeStore({ ...store, allocatedBytes: GiB / 4 })[1]).toMatchObject({ level: 'fail' });
  expect(worstOf(judgeStore({ ...store, direct: false }))).toBe('warn');
});

test.each([
  [new PrimedError('ORIGIN_DENIED', '403 SignatureDoesNotMatch'), /^credentials: /],
  [new PrimedError('ORIGIN_UNREACHABLE', 'no', {}, { cause: new Error('getaddrinfo ENOTFOUND s3.none') }), /^DNS: /],
  [new PrimedError('ORIGIN_UNREACHABLE', 'no', {}, { cause: new Error('self-signed certificate') }), /^TLS: /],
  [new PrimedError('ORIGIN_REJECTED', '400 AuthorizationHeaderMalformed'), /^region: /],
  [new PrimedError('ORIGIN_TIMEOUT', 'nothing came'), /^nothing came/],
])('an origin that answers %s is told by its cause', (error, words) => {
  expect(judgeOrigin('s3://b/', error)).toMatchObject({ level: 'fail', what: expect.stringMatching(words) });
});

test('limits are read as the kernel writes them', () => {
  const limits = limitsOf(
    'Limit                     Soft Limit           Hard Limit           Units     \n' +
      'Max open files            1024                 524288               files     \n' +
      'Max locked memory         unlimited            unlimited            bytes     \n',
  );
  expect(limits('Max open files')).toBe(1024);
  expect(limits('Max locked memory')).toBeUndefined();
});
