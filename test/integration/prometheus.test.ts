/** Prometheus over a cluster that works: the dashboard and the alerts as whoever runs them gets them. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { PrimedClient } from '../../src/client/client.ts';
import { MiB } from '../../src/core/units.ts';
import type { EmbeddedOrigin } from '../../src/demo/origin/api.ts';
import { alerts } from '../../src/telemetry/alerts.ts';
import { makeAuthority } from '../support/certificate.ts';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { projectRoot, temporaryFolder } from '../support/files.ts';
import { originEnvironment, startTestOrigin } from '../support/origin.ts';
import { type Prometheus, type Sample, startPrometheus } from '../support/prometheus.ts';
import { readBack } from '../support/scene.ts';

const token = 'a-token-of-the-test';
const objects = Array.from({ length: 12 }, (_, at) => ({ key: `data/${at}.bin`, sizeBytes: 2 * MiB + at * 1000 }));
const dataBytes = objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
const soon = { timeout: 30_000, interval: 100 };

const folder = temporaryFolder('prometheus-cluster');
const authority = makeAuthority('cluster');
let origin: EmbeddedOrigin;
let coordinator: Daemon;
let workers: Daemon[] = [];
let client: PrimedClient;
let prometheus: Prometheus;

function start(role: 'coordinator' | 'worker', id: string): Promise<Daemon> {
  const dir = join(folder.path, `pem-${id}`);
  mkdirSync(dir);
  for (const [file, text] of Object.entries({ ...authority.sign(id), ca: authority.cert }))
    writeFileSync(join(dir, file), text);
  return startDaemon({
    role,
    dataDir: join(folder.path, id),
    storeSize: role === 'worker' ? '256MB' : null,
    ca: authority.cert,
    env: {
      ...originEnvironment(origin),
      PRIMED_TLS_CERT_FILE: join(dir, 'cert'),
      PRIMED_TLS_KEY_FILE: join(dir, 'key'),
      PRIMED_TLS_CA_FILE: join(dir, 'ca'),
      PRIMED_TLS_S3: 'false',
      PRIMED_API_TOKEN: token,
      PRIMED_CLUSTER_ID: id,
      ...(role === 'worker' ? { PRIMED_COORDINATOR: coordinator.api } : {}),
    },
  });
}

/** As docs/MONITORING.md says, only more often. */
function scraping(): object {
  const files = { ca: authority.cert, token };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder.path, name), text);
  const job = (name: string, targets: readonly Daemon[]): object => ({
    job_name: name,
    scheme: 'https',
    tls_config: { ca_file: join(folder.path, 'ca') },
    authorization: { credentials_file: join(folder.path, 'token') },
    static_configs: [{ targets: targets.map(({ api }) => new URL(api).host), labels: { cluster: 'lab' } }],
  });
  return {
    global: { scrape_interval: '1s', evaluation_interval: '1s' },
    rule_files: [join(projectRoot, 'deploy', 'prometheus', 'primed.rules.yml')],
    scrape_configs: [job('primed-coordinators', [coordinator]), job('primed-workers', workers)],
  };
}

beforeAll(async () => {
  origin = await startTestOrigin({ objects });
  coordinator = await start('coordinator', 'c1');
  workers = await Promise.all(['w1', 'w2'].map((id) => start('worker', id)));
  client = new PrimedClient({ coordinator: coordinator.api, token, tls: { ca: authority.cert } });
  await vi.waitFor(
    async () => expect((await client.workers()).map(({ state }) => state)).toEqual(['LIVE', 'LIVE']),
    soon,
  );
  prometheus = await startPrometheus(scraping());
  await vi.waitFor(async () => expect(await prometheus.query('up == 1')).toHaveLength(3), soon);
  // As long as the load is held, there are several scrapes of it.
  await client.limitUfs(`s3://${origin.bucket}`, { bandwidth: '20MB', requests: '500' });
  const path = `s3://${origin.bucket}/data/`;
  await client.submit({ path }, { verify: true });
  await vi.waitFor(async () => expect((await client.progress(path)).mJobState).toBe('SUCCEEDED'), soon);
  for (const { ports } of workers) await readBack({ s3: `http://127.0.0.1:${ports.s3}` }, origin.bucket, objects);
});

afterAll(async () => {
  await prometheus?.close();
  await client?.close();
  await Promise.all([coordinator, ...workers].map((daemon) => daemon?.kill()));
  await origin?.close();
  folder.remove();
});

/** Of all that the query gives. */
const sum = async (expr: string): Promise<number> =>
  (await prometheus.query(expr)).reduce((all, { value }) => all + value, 0);

test('Prometheus has of every daemon what it did', async () => {
  // Each daemon is scraped at a moment of its own.
  const shown = async (): Promise<Record<string, number | boolean>> => ({
    served: await sum('sum(primed_s3_served_bytes_total)'),
    // More, where a part was tried again.
    fetched: (await sum('sum(primed_origin_bytes_total)')) >= dataBytes,
    live: await sum('primed_workers{state="LIVE"}'),
    ended: await sum('primed_jobs_ended_total{state="SUCCEEDED"}'),
    verified: await sum('sum(primed_job_verified_bytes_total)'),
    registrations: await sum('sum(primed_lease_registrations_total)'),
  });
  await expect
    .poll(shown, soon)
    .toEqual({ served: 2 * dataBytes, fetched: true, live: 2, ended: 1, verified: dataBytes, registrations: 2 });
  expect(await sum('sum(primed_origin_limit_held_seconds_total)')).toBeGreaterThan(0);
  // Three daemons, each with its own certificate and that of the authority.
  expect(await sum('count(primed_certificate_expiry_timestamp_seconds - time() > 86400)')).toBe(6);
  expect(await sum('max(scrape_samples_scraped)')).toBeLessThan(3_000);
});

interface Shown {
  readonly title: string;
  readonly panels?: readonly Shown[];
  readonly targets?: readonly { readonly expr: string }[];
}

test('every query of every panel returns data', async () => {
  const file = join(projectRoot, 'deploy', 'grafana', 'primed.json');
  const { panels } = JSON.parse(readFileSync(file, 'utf8')) as { panels: readonly Shown[] };
  const asked = panels
    .flatMap((panel) => [panel, ...(panel.panels ?? [])])
    .flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ title, expr: filled(expr) })));
  expect(asked.length).toBeGreaterThan(80);
  const empty = async (): Promise<string[]> => {
    const answers = await Promise.all(
      asked.map(async (one) => ({ ...one, samples: await prometheus.query(one.expr) })),
    );
    return answers.filter(({ samples }) => samples.length === 0).map(({ title, expr }) => `${title}: ${expr}`);
  };
  await expect.poll(empty, soon).toEqual([]);
});

/** What the dashboard's variables are when nothing was chosen. */
function filled(expr: string): string {
  return expr.replaceAll('$cluster', '.*').replaceAll('$instance', '.*').replaceAll('$__rate_interval', '1m');
}

test('a query with a name that nobody has would be found', async () => {
  expect(await prometheus.query('sum(primed_no_such_thing)')).toEqual<Sample[]>([]);
  await expect(prometheus.query('sum(')).rejects.toThrow('parse error');
});

test('every rule is evaluated without an error, and a worker that leaves is told of', async () => {
  const states = async (): Promise<Record<string, string>> =>
    Object.fromEntries((await prometheus.rules()).map(({ name, state }) => [name, state]));
  const rules = async () =>
    (await prometheus.rules()).map(({ name, health, lastError }) => `${name} ${health} ${lastError}`);
  await expect
    .poll(async () => (await rules()).sort(), soon)
    .toEqual(alerts.map(({ name }) => `${name} ok undefined`).sort());
  const before = await states();
  expect([before.PrimedWorkerLost, before.PrimedDown]).toEqual(['inactive', 'inactive']);
  expect(Object.entries(before).filter(([, state]) => state === 'firing')).toEqual([]);
  const [lost] = workers.splice(0, 1);
  // It says goodbye, and is lost at once.
  await lost!.terminate();
  // They wait for the minute that they are to last.
  await expect.poll(states, soon).toMatchObject({ PrimedWorkerLost: 'pending', PrimedDown: 'pending' });
  const rule = (await prometheus.rules()).find(({ name }) => name === 'PrimedWorkerLost')!;
  expect(rule.alerts.map(({ annotations }) => annotations.summary)).toEqual([
    `Workers that are lost to ${new URL(coordinator.api).host}: 1`,
  ]);
});
