/** Spans of a cluster at a collector: one connected trace over all processes, bounded, nothing secret; and no collector. */
import { afterEach, expect, it } from 'vitest';
import { KiB, MiB } from '../../src/core/units.ts';
import { ended } from '../support/api.ts';
import { type Cluster, openCluster } from '../support/cluster.ts';
import { testCredentials } from '../support/origin.ts';
import { type CollectedSpan, type Collector, startCollector } from '../support/otlp.ts';

let cluster: Cluster | undefined;
let collector: Collector | undefined;
afterEach(async () => {
  await cluster?.close();
  await collector?.close();
  cluster = undefined;
  collector = undefined;
});

const objects = [
  { key: 'data/large.bin', sizeBytes: 20 * MiB },
  ...Array.from({ length: 30 }, (_, index) => ({ key: `data/${index}.bin`, sizeBytes: 20 * KiB })),
  { key: 'read/through.bin', sizeBytes: 18 * MiB },
];
const token = 'planted-collector-token-6a1b';

it('a load and a read through are one trace each, from client to origin, and say nothing secret', async () => {
  collector = await startCollector();
  cluster = await openCluster({
    origin: { objects },
    workers: ['w1', 'w2'],
    env: {
      PRIMED_READING_READ_THROUGH: 'always',
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_EXPORTER_OTLP_HEADERS: `x-collector-token=${token}`,
      OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test',
      OTEL_BSP_SCHEDULE_DELAY: '100',
    },
  });
  const { coordinator, workers } = cluster;
  const loadTrace = '0af7651916cd43dd8448eb211c80319c';
  const readTrace = '1af7651916cd43dd8448eb211c80319d';
  const client = 'b7ad6b7169203331';
  const options = { batchSize: 10, partialListing: true, verify: true, replicas: 2, skipIfExists: true };
  const submitted = await fetch(`${workers.get('w1')!.api}/v1/load`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', traceparent: `00-${loadTrace}-${client}-01` },
    body: JSON.stringify({ path: 's3://demo/data/', opType: 'submit', ...options }),
  });
  expect([submitted.headers.get('x-request-id'), await submitted.json()]).toEqual([
    expect.stringMatching(/^[0-9A-F]{16}$/),
    expect.objectContaining({ success: true }),
  ]);
  expect((await ended(coordinator.api, 's3://demo/data/')).mJobState).toBe('SUCCEEDED');
  // Each worker has a part of it: whoever is asked asks the other.
  const read = await fetch(`${workers.get('w1')!.s3}/demo/read/through.bin?X-Amz-Signature=abc`, {
    headers: { traceparent: `00-${readTrace}-${client}-01` },
  });
  expect((await read.arrayBuffer()).byteLength).toBe(18 * MiB);

  // Whole here: a serving thread answers.
  const cachedTrace = '2af7651916cd43dd8448eb211c80319e';
  const cached = await fetch(`${workers.get('w1')!.s3}/demo/data/1.bin?X-Amz-Signature=abc`, {
    headers: { traceparent: `00-${cachedTrace}-${client}-01` },
  });
  expect((await cached.arrayBuffer()).byteLength).toBe(20 * KiB);

  const of = (trace: string): CollectedSpan[] => collector!.spans.filter(({ traceId }) => traceId === trace);
  const named = (trace: string, name: string): CollectedSpan[] => of(trace).filter((span) => span.name === name);
  await expect.poll(() => named(loadTrace, 'job load').length, { timeout: 10_000 }).toBe(1);
  await expect.poll(() => named(loadTrace, 'run on worker').length, { timeout: 10_000 }).toBe(2);
  await expect.poll(() => named(readTrace, 'S3 get').length, { timeout: 10_000 }).toBe(1);
  await expect.poll(() => named(cachedTrace, 'S3 get').length, { timeout: 10_000 }).toBe(1);
  await Promise.all([coordinator, ...workers.values()].map((daemon) => daemon.terminate()));
  expect(collector.problems).toEqual([]);

  // No span without its parent, and the only one from outside is the client's.
  for (const trace of [loadTrace, readTrace]) {
    const ids = new Set(of(trace).map(({ spanId }) => spanId));
    expect(ids.size).toBe(of(trace).length);
    const orphans = of(trace).filter(({ parentId }) => parentId !== client && !ids.has(parentId));
    expect(orphans.map(({ name }) => name)).toEqual([]);
    expect(of(trace).filter(({ parentId }) => parentId === client).length).toBe(1);
  }
  // With two replicas on two workers it is whole on either.
  expect(of(cachedTrace)).toMatchObject([
    {
      parentId: client,
      attributes: { 'primed.cached': true, 'http.response.status_code': 200, 'url.path': '/demo/data/1.bin' },
    },
  ]);
  const names = new Set(of(loadTrace).map(({ name }) => name));
  const phases = [
    'POST /v1/load',
    'POST /api/v1/master/submit_job/load',
    'job load',
    'list',
    'load',
    'dispatch batch',
    'verify',
    'settle',
    'run on worker',
  ];
  const details = [
    'LIST from origin',
    'load file',
    'copy file',
    'GET from origin',
    'GET from worker',
    'land and commit',
  ];
  expect([...phases, ...details].filter((name) => !names.has(name))).toEqual([]);
  const [job] = named(loadTrace, 'job load');
  expect(job).toMatchObject({
    parentId: named(loadTrace, 'POST /api/v1/master/submit_job/load')[0]!.spanId,
    resource: { 'service.name': 'primed', 'primed.role': 'coordinator', 'deployment.environment.name': 'test' },
    attributes: { 'primed.state': 'SUCCEEDED', 'primed.loaded_files': 31, 'primed.path': 's3://demo/data/' },
  });
  expect(new Set(named(loadTrace, 'run on worker').map(({ resource }) => resource['service.instance.id']))).toEqual(
    new Set(['w1', 'w2']),
  );
  for (const run of named(loadTrace, 'run on worker'))
    expect(run.attributes['primed.job_id']).toBe(job!.attributes['primed.job_id']);
  // The file is cut, and some of it belongs on the other worker: both had a part in the read.
  const readers = new Set(of(readTrace).map(({ resource }) => resource['service.instance.id']));
  expect([...readers].sort()).toEqual(['w1', 'w2']);
  expect(named(readTrace, 'GET from origin').length).toBeGreaterThan(0);
  expect(named(readTrace, 'HEAD to origin').length).toBeGreaterThan(0);
  // Some are of the submission, or of the verification.
  const listing = named(loadTrace, 'list').map(({ spanId }) => spanId);
  expect(named(loadTrace, 'LIST from origin').map(({ parentId }) => parentId)).toEqual(expect.arrayContaining(listing));

  const everything = Buffer.concat([...collector.bodies]).toString('latin1');
  for (const secret of [token, testCredentials.secretAccessKey, testCredentials.accessKeyId, 'X-Amz-Signature'])
    expect([secret, everything.includes(secret)]).toEqual([secret, false]);
  expect(collector.headers.every((one) => one['x-collector-token'] === token)).toBe(true);
  const logs = [coordinator, ...workers.values()].map((daemon) => daemon.log()).join('');
  expect(logs.includes(token)).toBe(false);
  const line = logs.split('\n').find((one) => one.includes('the job has ended'))!;
  expect(JSON.parse(line)).toMatchObject({ trace_id: loadTrace, span_id: expect.any(String) });
}, 120_000);
