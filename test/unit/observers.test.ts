import { expect, test } from 'vitest';
import { firstEndMs, showCertificates } from '../../src/certificate-ends.ts';
import type { Registry } from '../../src/cluster/registry.ts';
import type { JobService } from '../../src/cluster/types.ts';
import { PrimedError } from '../../src/core/errors.ts';
import { countStates, type JobSnapshot } from '../../src/core/job.ts';
import type { WorkerRow, WorkerState } from '../../src/core/membership.ts';
import { originOperations } from '../../src/core/origin-use.ts';
import { Revocations } from '../../src/core/revocations.ts';
import { emptyLedger, type UfsPath } from '../../src/core/types.ts';
import {
  observedOrigins,
  observeLimits,
  showHealth,
  showJobs,
  showLimits,
  showOrigins,
  showServing,
  showWorkers,
} from '../../src/observers.ts';
import { OriginCounts } from '../../src/origin/origin-counts.ts';
import type { ReadableOrigins } from '../../src/origin/types.ts';
import { laneLayout } from '../../src/telemetry/lane-columns.ts';
import { makeTelemetry, type Telemetry } from '../../src/telemetry/registry.ts';
import { answerColumnOf, servingColumns, servingLayout } from '../../src/telemetry/serving-columns.ts';
import { makeSharedCounters } from '../../src/telemetry/shared-counters.ts';
import { makeAuthority, makeCertificate } from '../support/certificate.ts';
import { revocationList } from '../support/revocation.ts';

/** Samples whose line begins with a name, by what stands before the value. */
async function samples(telemetry: Telemetry, name = ''): Promise<Record<string, number>> {
  const lines = (await telemetry.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return Object.fromEntries(
    lines
      .filter((line) => line.startsWith(name))
      .map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  );
}

/** What most machines have, and more of everything that can be counted than there may be. */
test('metrics of a daemon are fewer than 3,000 series, however many jobs, origins and workers there are', async () => {
  const telemetry = makeTelemetry({ role: 'standalone' });
  telemetry.attachLanes(makeSharedCounters(laneLayout, 64));
  telemetry.attachServing(makeSharedCounters(servingLayout, 65));
  const states = ['RUNNING', 'FAILED', 'SUCCEEDED', 'WAITING'] as const;
  const jobs = Array.from({ length: 5_000 }, (_, at) => aJob(`job-${at}`, states[at % 4]!));
  showJobs(
    telemetry,
    jobsOf(() => jobs),
    { monotonicMs: () => 0, wallMs: () => 0 },
  );
  showWorkers(telemetry, registryOf(Array.from({ length: 2_000 }, (_, at) => aWorker(`w${at}`, 'LIVE', at))));
  const origins = Array.from({ length: 2_000 }, (_, at) => `s3://bucket-${at}/`);
  const limits = observeLimits(telemetry);
  const limited = origins.map((origin) => ({ origin, bytesPerSecond: 1, requestsPerSecond: 1 }));
  showLimits(telemetry, { effective: () => limited } as unknown as Parameters<typeof showLimits>[1]);
  for (const origin of origins)
    for (const limit of ['bandwidth', 'requests'] as const) {
      limits.held(origin, limit, 5);
      limits.share(origin, limit, 5);
    }
  const counts = new OriginCounts();
  showOrigins(telemetry, counts);
  for (const origin of origins)
    for (const operation of originOperations)
      for (const httpStatus of [101, 200, 301, 404, 503, undefined])
        counts.asked(origin, operation, { httpStatus, firstByteMs: 1 });
  const shown = await samples(telemetry);
  telemetry.close();
  const asked = Object.entries(shown).filter(([line]) => line.startsWith('primed_origin_operations_total'));
  expect(asked.length).toBe(17 * 6 * 5);
  expect(asked.reduce((sum, [, value]) => sum + value, 0)).toBe(2_000 * 6 * 6);
  expect(shown['primed_origin_operations_total{origin="other",operation="LIST",code="5xx"}']).toBe(1_984);
  expect(Object.keys(shown).filter((line) => line.startsWith('primed_origin_limit_share')).length).toBe(200);
  expect(Object.keys(shown).length).toBeGreaterThan(1_000);
  expect(Object.keys(shown).length).toBeLessThan(3_000);
  expect(shown['primed_jobs{state="RUNNING"}']).toBe(1_250);
  expect(shown['primed_workers{state="LIVE"}']).toBe(2_000);
});

test('hits and bytes of this store are counted once, whichever thread has answered', async () => {
  const telemetry = makeTelemetry({ processMetrics: false });
  const serving = makeSharedCounters(servingLayout, 3);
  showServing(telemetry, { cachedBytes: () => 7 }, serving);
  const counted = async () => {
    const { 'primed_read_looks_total{result="local"}': hits, 'primed_read_bytes_total{source="local"}': bytes } =
      await samples(telemetry);
    return { hits, bytes };
  };
  for (const [thread, operation, bytes] of [
    [0, 'get', 100],
    [1, 'head', 0],
    // By the main thread, which has told of the same bytes itself.
    [2, 'get', 1000],
  ] as const) {
    serving.row(thread).add(answerColumnOf(operation, '2xx'), 1);
    serving.row(thread).add(servingColumns.servedBytes, bytes);
  }
  telemetry.counters.readBytes.inc({ source: 'local' }, 1000);
  expect(await counted()).toEqual({ hits: 2, bytes: 1100 });
  expect(await counted()).toEqual({ hits: 2, bytes: 1100 });
  serving.row(1).add(servingColumns.servedBytes, 50);
  expect(await counted()).toEqual({ hits: 2, bytes: 1150 });
  telemetry.close();
});

test('a limit that is lifted leaves its place to another', async () => {
  const telemetry = makeTelemetry({ processMetrics: false });
  const { share } = observeLimits(telemetry);
  for (let at = 0; at < 150; at += 1) share(`s3://b${at}/`, 'requests', 1);
  for (let at = 0; at < 100; at += 1) share(`s3://b${at}/`, 'requests', undefined);
  share('s3://late/', 'requests', 7);
  expect(await samples(telemetry, 'primed_origin_limit_share')).toMatchObject({
    'primed_origin_limit_share{origin="s3://late/",limit="requests"}': 7,
  });
  telemetry.close();
});

test('workers are counted by state, registrations and losses as they come', async () => {
  const telemetry = makeTelemetry({ processMetrics: false });
  const registry = registryOf([aWorker('a', 'LIVE', 1), aWorker('b', 'LOST', 2)]);
  showWorkers(telemetry, registry);
  expect(await samples(telemetry, 'primed_workers{')).toEqual({
    'primed_workers{state="LIVE"}': 1,
    'primed_workers{state="DRAINING"}': 0,
    'primed_workers{state="LOST"}': 1,
  });
  const moves: [WorkerRow[], registered: number, lost: number][] = [
    [[aWorker('a', 'LIVE', 1), aWorker('b', 'LIVE', 3)], 1, 0],
    [[aWorker('a', 'DRAINING', 1), aWorker('b', 'LIVE', 3)], 1, 0],
    [[aWorker('a', 'LOST', 1), aWorker('b', 'LIVE', 3)], 1, 1],
    // It had registered anew before its lease ended.
    [[aWorker('a', 'LOST', 1), aWorker('b', 'LIVE', 4)], 2, 1],
    [[aWorker('a', 'LOST', 1)], 2, 2],
  ];
  for (const [rows, registered, lost] of moves) {
    registry.become(rows);
    expect(await samples(telemetry, 'primed_worker')).toMatchObject({
      primed_worker_registrations_total: registered,
      primed_workers_lost_total: lost,
    });
  }
  telemetry.close();
});

test('jobs are counted by state, and a running one that does not move is seen', async () => {
  const telemetry = makeTelemetry({ processMetrics: false });
  let nowMs = 0;
  let jobs = [aJob('a', 'RUNNING')];
  showJobs(
    telemetry,
    jobsOf(() => jobs),
    { monotonicMs: () => nowMs, wallMs: () => 0 },
  );
  await telemetry.text();
  nowMs = 90_000;
  expect(await samples(telemetry, 'primed_job_idle')).toEqual({ primed_job_idle_seconds: 90 });
  jobs = [{ ...aJob('a', 'RUNNING'), loadedBytes: 9 }];
  expect(await samples(telemetry, 'primed_job_idle')).toEqual({ primed_job_idle_seconds: 0 });
  jobs = [aJob('a', 'FAILED'), aJob('b', 'FAILED')];
  nowMs = 900_000;
  expect(await samples(telemetry, 'primed_job')).toMatchObject({
    primed_job_idle_seconds: 0,
    'primed_jobs{state="RUNNING"}': 0,
    'primed_jobs{state="FAILED"}': 2,
  });
  telemetry.close();
});

test('the ends of certificates are those of the ones in use, also after others have taken their place', async () => {
  const telemetry = makeTelemetry({ processMetrics: false });
  const authority = makeAuthority('the nodes');
  const { cert, key } = authority.sign('node');
  const people = makeCertificate(1);
  const live = { tls: { server: { cert, key, peopleCa: people.cert }, client: { ca: authority.cert } }, etcdTls: {} };
  showCertificates(telemetry, live);
  const name = 'primed_certificate_expiry_timestamp_seconds';
  const before = await samples(telemetry, name);
  expect(Object.keys(before).sort()).toEqual(['ca', 'client-ca', 'node'].map((use) => `${name}{use="${use}"}`));
  expect(before[`${name}{use="client-ca"}`]).toBe(firstEndMs(people.cert)! / 1000);
  const days = (before[`${name}{use="node"}`]! * 1000 - Date.now()) / 86_400_000;
  expect(days).toBeGreaterThan(1.9);
  expect(days).toBeLessThanOrEqual(2);
  const list = new Revocations(revocationList(authority, { seconds: 86_400 }), authority.cert);
  Object.assign(live.tls.client, { revocations: list });
  expect((await samples(telemetry, name))[`${name}{use="crl"}`]).toBe(list.ends[0]!.endsMs! / 1000);
  const next = makeCertificate(30);
  Object.assign(live.tls.server, next);
  expect((await samples(telemetry, name))[`${name}{use="node"}`]).toBe(firstEndMs(next.cert)! / 1000);
  expect(firstEndMs(next.cert)! - Date.now()).toBeGreaterThan(29 * 86_400_000);
  telemetry.close();
});

test('of several certificates the first end counts, and what is none has no end', () => {
  const [{ cert }, later] = [makeCertificate(1), makeCertificate(9)];
  expect(firstEndMs(`${later.cert}\n${cert}`)).toBe(firstEndMs(cert));
  expect(firstEndMs(later.cert)).toBeGreaterThan(firstEndMs(cert)!);
  expect(firstEndMs('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----')).toBeUndefined();
  expect(firstEndMs('')).toBeUndefined();
});

test('health, a refused configuration and a disk that hangs are shown', async () => {
  const telemetry = makeTelemetry({ processMetrics: false });
  let [ready, refused] = [false, true];
  let hung = false;
  showHealth(telemetry, { ready: () => ({ ready }), refusedConfig: () => refused, hungDisk: () => hung });
  expect(await samples(telemetry, 'primed_disk_hung')).toEqual({ primed_disk_hung: 0 });
  expect(await samples(telemetry, 'primed_ready')).toEqual({ primed_ready: 0 });
  expect(await samples(telemetry, 'primed_config_refused')).toEqual({ primed_config_refused: 1 });
  [ready, refused] = [true, false];
  hung = true;
  expect(await samples(telemetry, 'primed_disk_hung')).toEqual({ primed_disk_hung: 1 });
  expect(await samples(telemetry, 'primed_ready')).toEqual({ primed_ready: 1 });
  expect(await samples(telemetry, 'primed_config_refused')).toEqual({ primed_config_refused: 0 });
  telemetry.close();
});

test('a listing that fails is counted, and one that nobody wants any more is not', async () => {
  const telemetry = makeTelemetry({ processMetrics: false });
  const list = async (): Promise<never> => {
    throw new PrimedError('ORIGIN_TIMEOUT', 'silence');
  };
  const origins = observedOrigins({ list } as unknown as ReadableOrigins, telemetry);
  const path = 's3://b/' as UfsPath;
  await expect(origins.list(path, {})).rejects.toThrow('silence');
  await expect(origins.list(path, { signal: AbortSignal.abort() })).rejects.toThrow('silence');
  expect(await samples(telemetry, 'primed_origin_list_failures')).toEqual({ primed_origin_list_failures_total: 1 });
  telemetry.close();
});

/** As a coordinator that was just started and does not hear etcd: a list is refused where there is nothing to be listed. */
function jobsOf(jobs: () => readonly JobSnapshot[]): Pick<JobService, 'counts' | 'list'> {
  return {
    counts: () => countStates(jobs().map(({ state }) => state)),
    list({ states = [] }) {
      const found = jobs().filter(({ state }) => states.includes(state));
      if (found.length === 0) throw new PrimedError('ETCD_UNAVAILABLE', 'etcd has not been read yet');
      return found;
    },
  };
}

function aJob(jobId: string, state: JobSnapshot['state']): JobSnapshot {
  const figures = { scannedFiles: 0, processedFiles: 0, loadedBytes: 0, verifiedFiles: 0, verifiedBytes: 0 };
  return { jobId, state, ...figures, ledger: emptyLedger() } as JobSnapshot;
}

function aWorker(id: string, state: WorkerState, epoch: number): WorkerRow {
  return { id, state, epoch } as WorkerRow;
}

function registryOf(rows: readonly WorkerRow[]): Registry & { become(rows: readonly WorkerRow[]): void } {
  let now = rows;
  let tell = (): void => {};
  return {
    workers: () => now,
    onChange: (listener: () => void) => {
      tell = listener;
      return () => undefined;
    },
    become(next: readonly WorkerRow[]) {
      now = next;
      tell();
    },
  } as unknown as Registry & { become(rows: readonly WorkerRow[]): void };
}
