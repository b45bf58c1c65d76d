import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Role } from '../../../src/config/config.ts';
import { describeSources } from '../../../src/config/load.ts';
import { PrimedError } from '../../../src/core/errors.ts';
import { GiB, MiB } from '../../../src/core/units.ts';
import { loadConfig } from '../../support/config.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'primed-config-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
function toml(contents: string): string {
  const file = join(folder, `config-${files++}.toml`);
  writeFileSync(file, contents);
  return file;
}

function load(
  given: { file?: string; env?: Record<string, string>; flags?: Record<string, unknown>; role?: Role } = {},
) {
  const { role = 'standalone', env = {}, flags = {}, file } = given;
  return loadConfig({ role, env, flags: { data: folder, ...flags }, ...(file === undefined ? {} : { file }) });
}

/** The lines of the refusal, without the headline. */
function errorsOf(given: Parameters<typeof load>[0]): string[] {
  try {
    load(given);
  } catch (error) {
    if (!(error instanceof PrimedError) || error.code !== 'CONFIG_INVALID') throw error;
    return error.message
      .split('\n')
      .slice(1)
      .map((line) => line.trim());
  }
  throw new Error('the configuration was accepted');
}

test('without anything given there is a complete configuration on loopback', () => {
  const config = load();
  expect(config).toMatchObject({
    role: 'standalone',
    dataDir: folder,
    jobsDir: join(folder, 'jobs'),
    indexDir: join(folder, 'index'),
    insecure: false,
    api: { listen: { host: '127.0.0.1', port: 19999 } },
    worker: {
      httpListen: { host: '127.0.0.1', port: 28080 },
      s3Listen: { host: '127.0.0.1', port: 29998 },
      partBytes: 8 * MiB,
      socketsPerLane: 64,
      smallObjectMaxBytes: MiB,
      diskEngine: 'auto',
      diskTimeoutMs: 30_000,
    },
    ingest: {
      retry: {
        maxAttempts: 8,
        maxThrottledAttempts: 30,
        baseMs: 100,
        maxMs: 20_000,
        budgetRatio: 0.5,
        budgetFloor: 200,
      },
      timeouts: { connectMs: 5000, firstByteMs: 30_000, stallMs: 30_000 },
    },
    ufs: [],
    job: {
      batchSize: 512,
      retentionMs: 7 * 86_400_000,
      maxActive: 4,
      maxWaiting: 100,
      maxEnded: 1000,
      onChange: 'restart',
      maxRestarts: 3,
    },
    log: { level: 'info', pretty: false },
  });
  expect(config.worker.lanes).toBeGreaterThanOrEqual(1);
  expect(config.worker.lanes).toBeLessThanOrEqual(8);
  expect(config.worker.stores).toHaveLength(1);
  expect(config.worker.stores[0]!.dir).toBe(join(folder, 'store'));
  expect(config.worker.stores[0]!.sizeBytes).toBeLessThanOrEqual(20 * GiB);
  expect(JSON.stringify(config)).not.toContain('null');
});

test('flags win over the environment, the environment over the file, the file over defaults', () => {
  const file = toml(
    '[api]\nlisten = "127.0.0.1:1"\n[worker]\nhttp_listen = "127.0.0.1:2"\ns3_listen = "127.0.0.1:3"\nlanes = 2',
  );
  const config = load({
    file,
    env: { PRIMED_API_LISTEN: '127.0.0.1:11', PRIMED_WORKER_HTTP_LISTEN: '127.0.0.1:12' },
    flags: { api: '127.0.0.1:21' },
  });
  expect([config.api.listen.port, config.worker.httpListen.port, config.worker.s3Listen.port]).toEqual([21, 12, 3]);
  expect(config.sources.get('api.listen')).toEqual({ kind: 'flag', place: '--api' });
  expect(config.sources.get('worker.http_listen')).toEqual({ kind: 'env', place: 'PRIMED_WORKER_HTTP_LISTEN' });
  expect(config.sources.get('worker.s3_listen')).toEqual({
    kind: 'file',
    place: `${file}:5: worker.s3_listen`,
    file,
    line: 5,
  });
  expect(config.sources.get('worker.part_size')).toEqual({ kind: 'default', place: 'default' });
  expect(describeSources(config)).toEqual({
    data_dir: '--data',
    'api.listen': '--api',
    'worker.http_listen': 'PRIMED_WORKER_HTTP_LISTEN',
    'worker.s3_listen': `${file}:5: worker.s3_listen`,
    'worker.lanes': `${file}:6: worker.lanes`,
  });
});

test('the file is found by flag and by PRIMED_CONFIG, the flag first', () => {
  const [one, two] = [toml('[log]\nlevel = "warn"'), toml('[log]\nlevel = "error"')];
  expect(load({ env: { PRIMED_CONFIG: one } }).log.level).toBe('warn');
  expect(load({ env: { PRIMED_CONFIG: one }, flags: { config: two } }).log.level).toBe('error');
});

test('sizes, durations and addresses are read as people write them', () => {
  const file = toml(`
    [worker]
    memory_budget = "1.5g"
    part_size = 16777216
    s3_listen = "[::1]:0"
    [ingest]
    retry_max = "1m 30s"
    retry_budget = 0.25
    [job]
    retention = "2w"
  `);
  const config = load({ file });
  expect(config.worker).toMatchObject({
    memoryBudgetBytes: 1536 * MiB,
    partBytes: 16 * MiB,
    s3Listen: { host: '::1', port: 0 },
  });
  expect(config.ingest.retry).toMatchObject({ maxMs: 90_000, budgetRatio: 0.25 });
  expect(config.job.retentionMs).toBe(14 * 86_400_000);
});

test('every error is listed with its place', () => {
  const file = toml(
    `
    data_dirr = "/x"
    lanes = 3
    log = "loud"
    [worker]
    memory_budget = "lots"
    lanes = 0
    part_size = "1500KB"
    [api]
    listen = "19999"
    [[worker.store]]
  `,
  );
  expect(
    errorsOf({
      file,
      env: { PRIMED_LOG_LEVEL: 'loud', PRIMED_WORKER_LANS: '2', PRIMED_STORE_SIZE: '1GB' },
      flags: { storeSize: '1KB', s3: 'nowhere' },
    }),
  ).toEqual([
    `${file}:2: data_dirr: is unknown; did you mean data_dir?`,
    `${file}:3: lanes: is unknown; did you mean worker.lanes?`,
    `${file}:4: log: is a table, write [log]`,
    `${file}:6: worker.memory_budget: must be a size such as "512MB" or "1.5g", not "lots"`,
    `${file}:7: worker.lanes: must be a whole number from 1 to 64, not 0`,
    `${file}:8: worker.part_size: must be from 1024.00KB to 64.00MB and a multiple of 1024.00KB, not "1500KB"`,
    `${file}:11: worker.store[0].dir: is missing`,
    `${file}:11: worker.store[0].size: is missing`,
    `${file}:10: api.listen: must be HOST:PORT such as "127.0.0.1:19999" or "[::1]:19999", not "19999"`,
    'PRIMED_LOG_LEVEL: must be one of "debug", "info", "warn", "error", not "loud"',
    'PRIMED_WORKER_LANS: is unknown; did you mean PRIMED_WORKER_LANES?',
    'PRIMED_STORE_SIZE: is unknown; did you mean PRIMED_WORKER_STORE_SIZE?',
    '--s3: must be HOST:PORT such as "127.0.0.1:19999" or "[::1]:19999", not "nowhere"',
    '--store-size: must be at least 16.00MB, not "1KB"',
  ]);
});

test('a word that is like no other gets the list of what there is', () => {
  const file = toml('[job]\ncolour = "red"');
  expect(errorsOf({ file })[0]).toMatch(
    /: job\.colour: is unknown; known here are batch_size, segment_size, retention, /,
  );
});

test.each(['AWS_ENDPOINT_URL', 'AWS_ENDPOINT_URL_S3'])('%s must be a URL', (name) => {
  for (const wrong of ['127.0.0.1:9000', 'localhost', 'http://', 's3://bucket/'])
    expect(errorsOf({ env: { [name]: wrong } })).toEqual([
      `${name}: must be a URL that starts with http:// or https://, not "${wrong}"`,
    ]);
  for (const right of ['', 'http://127.0.0.1:9000', 'HTTPS://s3.example.com/base'])
    expect(loadConfig({ role: 'standalone', flags: {}, env: { [name]: right } }).ufs).toEqual([]);
});

test('a file that is missing, and one that is not TOML, are named with the line', () => {
  expect(errorsOf({ file: join(folder, 'no.toml') })[0]).toMatch(/no\.toml: cannot be read: ENOENT/);
  const broken = toml('[api]\nlisten = \n');
  expect(errorsOf({ file: broken })[0]).toMatch(new RegExp(`^${broken}:2:\\d+: is not TOML: `));
});

test('values of a wrong kind are refused, with the form that is asked for', () => {
  expect(
    errorsOf({
      file: toml('[ingest]\nretry_base = 100\nstall_timeout = "30"\nmax_attempts = 2.5\nretry_budget = "half"'),
    }),
  ).toEqual([
    expect.stringContaining('ingest.retry_base: must be a duration with its unit'),
    expect.stringContaining('ingest.stall_timeout: must be a duration with its unit'),
    expect.stringContaining('ingest.max_attempts: must be a whole number from 1 to 100, not 2.5'),
    expect.stringContaining('ingest.retry_budget: must be a number, not "half"'),
  ]);
  expect(
    errorsOf({
      file: toml('insecure = "yes"\napi_token = ""\n[[ufs]]\nprefix = "s3://b/"\nendpoint = "s3.local:9000"'),
    }),
  ).toEqual([
    expect.stringContaining('insecure: must be true or false, not "yes"'),
    expect.stringContaining('api_token: must be a text that is not empty, not what is written there'),
    expect.stringContaining('ufs[0].endpoint: must be a URL that starts with http:// or https://, not "s3.local:9000"'),
  ]);
  expect(errorsOf({ file: toml('worker = 1\nufs = 1\n') })).toEqual([
    expect.stringContaining('worker: is a table, write [worker]'),
    expect.stringContaining('ufs: is a table that repeats, write [[ufs]]'),
  ]);
  expect(errorsOf({ file: toml('[[store]]\ndir = "/mnt/nvme0"\n') })).toEqual([
    expect.stringMatching(/store: is a table, write \[store\], or \[\[worker\.store\]\]$/),
  ]);
  expect(errorsOf({ file: toml('[[log]]\nlevel = "info"\n') })).toEqual([
    expect.stringMatching(/log: is a table, write \[log\]$/),
  ]);
});

test('listening beyond loopback needs a token or the word insecure, for the ports that the role opens', () => {
  const outside = { PRIMED_API_LISTEN: '0.0.0.0:19999' };
  expect(errorsOf({ env: outside })).toEqual([
    'PRIMED_API_LISTEN: 0.0.0.0 is not a loopback address, and there is no api_token; set one, or insecure = true',
  ]);
  expect(load({ env: { ...outside, PRIMED_API_TOKEN: 't' } }).apiToken).toBe('t');
  expect(load({ env: { ...outside, PRIMED_INSECURE: 'true' } }).insecure).toBe(true);
  expect(load({ env: outside, role: 'worker' }).role).toBe('worker');
  expect(
    load({
      env: {
        PRIMED_API_LISTEN: 'localhost:1',
        PRIMED_WORKER_HTTP_LISTEN: '127.9.9.9:1',
        PRIMED_WORKER_S3_LISTEN: '[::1]:1',
      },
    }).api.listen.port,
  ).toBe(1);
  expect(errorsOf({ env: { PRIMED_WORKER_S3_LISTEN: '[::]:1', PRIMED_API_TOKEN: 't' } })).toEqual([
    expect.stringContaining(
      'PRIMED_WORKER_S3_LISTEN: :: is not a loopback address, and the S3 port answers unsigned requests',
    ),
  ]);
  expect(errorsOf({ env: { PRIMED_WORKER_HTTP_LISTEN: '127.0.0.1.example.com:1' } })).toHaveLength(1);
});

test('stores: the default one, its size by flag, several by table, never both', () => {
  expect(load({ flags: { storeSize: '1GB' } }).worker.stores).toEqual([{ dir: join(folder, 'store'), sizeBytes: GiB }]);
  const two = '[[worker.store]]\ndir = "ssd0"\nsize = "2GB"\n[[worker.store]]\ndir = "/mnt/ssd1"\nsize = "3GB"';
  expect(load({ file: toml(two) }).worker.stores).toEqual([
    { dir: join(folder, 'ssd0'), sizeBytes: 2 * GiB },
    { dir: '/mnt/ssd1', sizeBytes: 3 * GiB },
  ]);
  expect(errorsOf({ file: toml(two), flags: { storeSize: '1GB' } })).toEqual([
    expect.stringMatching(/^--store-size: is for the default store/),
  ]);
  expect(errorsOf({ file: toml(two.replace('/mnt/ssd1', `${folder}/ssd0`)) })).toEqual([
    expect.stringContaining('worker.store[1].dir: is the folder of worker.store[0] as well'),
  ]);
});

test('the default store keeps the size that it was made with', () => {
  const data = join(folder, 'kept');
  mkdirSync(join(data, 'store'), { recursive: true });
  writeFileSync(join(data, 'store', 'store.dat'), '');
  truncateSync(join(data, 'store', 'store.dat'), 123 * MiB);
  expect(load({ flags: { data } }).worker.stores[0]!.sizeBytes).toBe(123 * MiB);
});

test('origins: path style is what is written, and left open where nothing is', () => {
  const file = toml(
    '[[ufs]]\nprefix = "s3://a/"\nendpoint = "http://127.0.0.1:9000"\n[[ufs]]\nprefix = "s3://b/"\npath_style = true\n[[ufs]]\nprefix = "s3://c/"\nendpoint = "https://s3.example"\npath_style = false\nanonymous = true',
  );
  const { ufs } = load({ file });
  expect(ufs.map(({ pathStyle }) => pathStyle)).toEqual([undefined, true, false]);
  expect(ufs[0]).toEqual({ prefix: 's3://a/', endpoint: 'http://127.0.0.1:9000', anonymous: false });
  expect(ufs[2]!.anonymous).toBe(true);
});

test('origins that contradict themselves are refused', () => {
  const refused = (lines: string) =>
    errorsOf({ file: toml(`[[ufs]]\n${lines}`) }).map((line) => line.slice(line.indexOf('ufs[0]')));
  expect(refused('prefix = "gs://a"')).toEqual([
    'ufs[0].prefix: must be s3://, s3://bucket/… or file:///dir, not "gs://a"',
  ]);
  expect(refused('endpoint = "http://x"')).toEqual(['ufs[0].prefix: is missing']);
  expect(refused('prefix = "s3://a"\naccess_key_id = "k"')).toEqual([
    'ufs[0].access_key_id: needs secret_access_key beside it',
  ]);
  expect(refused('prefix = "s3://a"\nanonymous = true\nprofile = "p"')).toEqual([
    'ufs[0].profile: cannot be used together with anonymous = true',
  ]);
  expect(refused('prefix = "file://data"')).toEqual([
    'ufs[0].prefix: must name an absolute folder: file:///dir, not "file://data"',
  ]);
  expect(refused('prefix = "file:///data"\nregion = "x"')).toEqual(['ufs[0].region: is for s3:// prefixes only']);
});

test('two entries for the same paths are refused: one would do nothing', () => {
  const refused = (table: string, ...prefixes: string[]) =>
    errorsOf({ file: toml(prefixes.map((prefix) => `[[${table}]]\nprefix = "${prefix}"\n`).join('')) });
  expect(refused('ufs', 's3://a', 's3://b/', 's3://a/')).toEqual([
    expect.stringMatching(/:6: ufs\[2\]\.prefix: is the prefix of ufs\[0\] as well/),
  ]);
  expect(refused('reading.rule', 's3://a/x/', 's3://a/x/')).toEqual([
    expect.stringMatching(/:4: reading\.rule\[1\]\.prefix: is the prefix of reading\.rule\[0\] as well/),
  ]);
  const apart = '[[ufs]]\nprefix = "s3://"\n[[ufs]]\nprefix = "s3://a"\n[[ufs]]\nprefix = "s3://a/b/"\n';
  // A rule for the object `a/x` is another one than that for what lies below it.
  const rules = '[[reading.rule]]\nprefix = "s3://a/x"\n[[reading.rule]]\nprefix = "s3://a/x/"\n';
  expect(load({ file: toml(apart + rules) }).ufs).toHaveLength(3);
});

test('an address with a user or a password in it is refused, and what is refused does not show it', () => {
  const given = [
    { file: toml('[[ufs]]\nprefix = "s3://"\nendpoint = "http://who:hush@o"') },
    { file: toml('[[ufs]]\nprefix = "s3://"\nendpoint = "ftp://who:hush@o"') },
    { file: toml('cluster.coordinator = "https://who:hush@o"'), role: 'worker' },
    { file: toml('[cluster]\nbackend = "etcd"\netcd.endpoints = "http://who:hush@o"'), role: 'coordinator' },
    { env: { AWS_ENDPOINT_URL: 'https://who:hush@o' } },
    { env: { AWS_ENDPOINT_URL: 'who://who:hush@o' } },
    { file: toml('[[ufs]]\nprefix = "s3://"\nendpoint = "http://who:hush/hush-hush@o"') },
    { file: toml('[[ufs]]\nprefix = "s3://"\nendpoint = "who:hush@o"') },
    { file: toml('[[ufs]]\nprefix = "s3://"\nendpoint = "http://who:one hush@o"') },
    { file: toml('[[ufs]]\nprefix = "s3://who:hush@bucket/"') },
    { file: toml('[[ufs]]\nprefix = "s3://who:1hush/hush@bucket/"') },
    { file: toml('[[ufs]]\nprefix = "s3a://who:hush@bucket/"') },
    { file: toml('[[ufs]]\nprefix = "gs://who:hush@bucket/"') },
    { file: toml('cluster.coordinator = "who:hush@o"'), role: 'worker' },
    { file: toml('cluster.coordinator = "who:hush/hush@o"'), role: 'worker' },
    { file: toml('[cluster]\nbackend = "etcd"\netcd.endpoints = "http://:hush@o"'), role: 'coordinator' },
  ] as const;
  const all = given.map(errorsOf);
  expect(all.map(([line, ...more]) => [line!.replace(/^\/\S+:(\d+):/, '$1:').slice(0, 80), more])).toEqual([
    ['3: ufs[0].endpoint: has a user or a password in it, which would be shown; use ac', []],
    ['3: ufs[0].endpoint: must be a URL that starts with http:// or https://, not "ftp', []],
    ['1: cluster.coordinator: has a user or a password in it, which would be shown; us', []],
    ['3: cluster.etcd.endpoints: "http://…@o" is not http://HOST:PORT or https://HOST:', []],
    ['AWS_ENDPOINT_URL: has a user or a password in it, which would be shown; use AWS_', []],
    ['AWS_ENDPOINT_URL: must be a URL that starts with http:// or https://, not "who:/', []],
    ['3: ufs[0].endpoint: must be a URL that starts with http:// or https://, not "htt', []],
    ['3: ufs[0].endpoint: must be a URL that starts with http:// or https://, not "…@o', []],
    ['3: ufs[0].endpoint: has a user or a password in it, which would be shown; use ac', []],
    ['2: ufs[0].prefix: has a user or a password in it, which would be shown; use acce', []],
    ['2: ufs[0].prefix: has a user or a password in it, which would be shown; use acce', []],
    ['2: ufs[0].prefix: has a user or a password in it, which would be shown; use acce', []],
    ['2: ufs[0].prefix: must be s3://, s3://bucket/… or file:///dir, not "gs://…@bucke', []],
    ['1: cluster.coordinator: has a user or a password in it, which would be shown; us', []],
    ['1: cluster.coordinator: has a user or a password in it, which would be shown; us', []],
    ['3: cluster.etcd.endpoints: "http://…@o" is not http://HOST:PORT or https://HOST:', []],
  ]);
  expect(JSON.stringify(all)).not.toMatch(/hush/);
  // An "@" is no user everywhere.
  const right = '[[ufs]]\nprefix = "s3://bucket/of:2026/who@o/"\nendpoint = "http://[::1]:9000/who@o"\n';
  expect(load({ file: toml(right) }).ufs).toHaveLength(1);
});

test('a budget that cannot hold the slots of all lanes is refused with the numbers', () => {
  expect(errorsOf({ env: { PRIMED_WORKER_LANES: '16', PRIMED_WORKER_PART_SIZE: '64MB' } })).toEqual([
    expect.stringContaining(' is too little for 16 lanes with parts of 64.00MB: they need 6.67GB'),
  ]);
});

test('a worker finds its coordinator, and has a host and an id of its own', () => {
  const outside = { PRIMED_INSECURE: 'true', PRIMED_WORKER_HTTP_LISTEN: '0.0.0.0:1' };
  const clusterOf = (given: Parameters<typeof load>[0]) => load({ role: 'worker', ...given }).cluster;
  const embedded = { backend: 'embedded', name: 'DefaultAlluxioCluster' };
  expect(clusterOf({})).toEqual({
    ...embedded,
    leaseMs: 10_000,
    coordinator: 'http://127.0.0.1:19999',
    host: '127.0.0.1',
    id: '127.0.0.1',
  });
  expect(clusterOf({ env: { ...outside, PRIMED_COORDINATOR: 'head:19999' } })).toMatchObject({
    coordinator: 'head:19999',
    host: hostname(),
    id: hostname(),
  });
  const all = '[cluster]\ntoken = "t"\nlease = "3s"\ncoordinator = "http://a:1"\nhost = "w"\nid = "seven"\nzone = "z"';
  expect(clusterOf({ file: toml(all), env: { PRIMED_API_TOKEN: 'other' }, flags: { host: 'fd00::7' } })).toEqual({
    ...embedded,
    token: 't',
    leaseMs: 3000,
    coordinator: 'http://a:1',
    host: 'fd00::7',
    id: 'seven',
    zone: 'z',
  });
  expect(clusterOf({ env: { PRIMED_API_TOKEN: 'both' } }).token).toBe('both');
});

test('a worker that its coordinator could not reach, or has no name, is refused', () => {
  const errors = (env: Record<string, string>) => errorsOf({ role: 'worker', env });
  const far = { PRIMED_COORDINATOR: 'http://head:19999' };
  expect(errors(far)).toEqual([
    'worker.http_listen: the coordinator head cannot reach 127.0.0.1; listen on an address of the network, or set cluster.host',
  ]);
  expect(load({ role: 'worker', env: { ...far, PRIMED_CLUSTER_HOST: 'w1' } }).cluster.id).toBe('w1');
  expect(load({ env: far }).cluster.coordinator).toBe('http://head:19999');
  expect(errors({ PRIMED_COORDINATOR: 'ftp://head' })).toEqual([
    'PRIMED_COORDINATOR: must be the address of a coordinator, http://HOST:PORT, not "ftp://head"',
  ]);
  expect(errors({ PRIMED_CLUSTER_ID: 'a b', PRIMED_CLUSTER_LEASE: '10ms' })).toEqual([
    expect.stringMatching(/^PRIMED_CLUSTER_ID: .*, not "a b"$/),
    'PRIMED_CLUSTER_LEASE: must be from 1s to 10m 0s, not "10ms"',
  ]);
  expect(errors({ PRIMED_CLUSTER_HOST: 'h'.repeat(101) })).toEqual([
    expect.stringMatching(/^cluster\.id: "h+", the host, cannot be an id/),
  ]);
});

test('a segment is a whole number of MiB', () => {
  expect(load().job.segmentBytes).toBe(64 * MiB);
  expect(load({ env: { PRIMED_JOB_SEGMENT_SIZE: '1GB' } }).job.segmentBytes).toBe(GiB);
  for (const wrong of ['0', '1.5MB', '2GB']) {
    expect(errorsOf({ env: { PRIMED_JOB_SEGMENT_SIZE: wrong } })).toEqual([
      expect.stringMatching(/^PRIMED_JOB_SEGMENT_SIZE: must be from .* to 1024\.00MB and a multiple of/),
    ]);
  }
});

test('variables of the client and of Kubernetes are no mistake', () => {
  const env = {
    PRIMED_COORDINATOR: 'x:19999',
    PRIMED_SERVICE_HOST: '10.0.0.1',
    PRIMED_WORKER_SERVICE_PORT_HTTP: '28080',
    PRIMED_PORT: 'tcp://10.0.0.1:19999',
    PRIMED_PORT_19999_TCP_ADDR: '10.0.0.1',
    PRIMED_LOG_LEVEL: '',
  };
  expect(load({ env }).log.level).toBe('info');
});

test('the configuration cannot be changed', () => {
  const config = load();
  expect(() => {
    (config.worker as { lanes: number }).lanes = 7;
  }).toThrow(TypeError);
  expect(Object.isFrozen(config.worker.stores[0])).toBe(true);
});

test('certificates need their keys, and nodes that show them a CA and a coordinator of https', () => {
  const errors = (lines: string, role: 'coordinator' | 'worker' = 'coordinator') =>
    errorsOf({ role, file: toml(`[tls]\n${lines}`) }).map((line) => line.replace(/^.*\.toml:\d+: /, ''));
  expect(errors('cert_file = "c"')).toEqual(['tls.cert_file: needs tls.key_file beside it']);
  expect(errors('key_file = "k"')).toEqual(['tls.key_file: needs tls.cert_file beside it']);
  const whole = 'cert_file = "c"\nkey_file = "k"\nnodes = "mtls"';
  expect(errors(whole)).toEqual(['tls.nodes: mtls needs tls.ca_file']);
  expect(errorsOf({ role: 'worker', file: toml(`[tls]\nca_file = "a"\n${whole}`) })).toEqual([
    'cluster.coordinator: has to be https://…, because tls.nodes is mtls, not "http://127.0.0.1:19999"',
  ]);
});

test('what is written through is found again: it is read through, and as young as the read', () => {
  const refused = (lines: string) =>
    errorsOf({ file: toml(lines) }).map((line) => line.slice(line.search(/ufs\[|reading\./)));
  const written = '[[ufs]]\nprefix = "s3://b/"\nwrite = "through"\n';
  const rule = '[[reading.rule]]\nprefix = "s3://b/a/"\n';
  const always = '[reading]\nread_through = "always"\n';
  load({ file: toml(`${always}${written}`) });
  load({ file: toml(`${written}read_through = "pass"\nmax_age = "0s"`) });
  const toBeFound = /: s3:\/\/b\/.* is written through, and then read_through must be "pass" or "always"/;
  const each = /: s3:\/\/b\/.* is written through, and then the origin is asked at each read: remove it$/;
  for (const [lines, key, problem] of [
    [written, 'ufs[0].write', toBeFound],
    [`${written}read_through = "never"`, 'ufs[0].write', toBeFound],
    [`${always}${written}${rule}read_through = "never"`, 'reading.rule[0].read_through', toBeFound],
    [`${written}read_through = "always"\nmax_age = "1s"`, 'ufs[0].max_age', each],
    [`${always}${written}${rule}max_age = "1s"`, 'reading.rule[0].max_age', each],
    [`${always}${rule}write = "through"\nmax_age = "1s"`, 'reading.rule[0].max_age', each],
    [
      `${always}[[reading.rule]]\nprefix = "file:///srv/"\nwrite = "through"`,
      'reading.rule[0].write',
      /only what is of s3:\/\/ is written through$/,
    ],
  ] as const) {
    const said = refused(lines);
    expect([lines, said]).toEqual([lines, [expect.stringMatching(problem)]]);
    expect(said[0]!.startsWith(`${key}:`)).toBe(true);
  }
  // What holds for everything is no contradiction: it is for what is not written.
  load({ file: toml(`${always}max_age = "1h"\n${written}`) });
});
