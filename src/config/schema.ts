/**
 * The one schema of the configuration: TOML keys, environment, flags, types and docs/CONFIGURATION.md come from it.
 * A setting `[worker] memory_budget` is `PRIMED_WORKER_MEMORY_BUDGET` in the environment. Tables that repeat (`[[ufs]]`,
 * `[[worker.store]]`) are written in the file only.
 */
import Type from 'typebox';
import { hostPattern, workerIdPattern } from '../core/membership.ts';
import { KiB, leastSegmentBytes, MiB, mostSegmentBytes, pageBytes } from '../core/units.ts';
import { certificateSchema } from './client-certificates.ts';
import { leastReadCacheBytes, mostDefaultLanes, mostDefaultServing } from './defaults.ts';
import { etcdSchema } from './etcd.ts';
import { choice, duration, flag, integer, listen, number, path, room, secret, size, text, url } from './forms.ts';
import { priceSchema, ufsPrices } from './price.ts';
import { readingSchema, readSettings } from './reading.ts';
import { retentionSchema } from './retention.ts';
import { s3Schema } from './s3.ts';
import { scrubSchema } from './scrub.ts';
import { tokenSchema } from './tokens.ts';
import { tracesSchema } from './traces.ts';

const closed = { additionalProperties: false } as const;
const dayMs = 86_400_000;
/** Below this a store would be mostly rounding. */
const leastStoreBytes = 16 * MiB;
/** A single lane fills a 25 Gbit/s link; more than this many serve nobody. */
const mostLanes = 64;

const storeSchema = Type.Object(
  {
    dir: path({ description: 'Folder of the store file; a mount of its own for each SSD.' }),
    size: room({
      description:
        'Size of the store file, allocated in full when it is made, or its share of the disk (`"80%"`), which counts when it is made and leaves an existing store as it is.',
      minimum: leastStoreBytes,
    }),
  },
  { ...closed, description: 'One for each SSD. Without any, one store lies in `store` below `data_dir`.' },
);

const ufsSchema = Type.Object(
  {
    prefix: text({
      description:
        'Paths that these settings are for: `s3://` (all buckets), `s3://bucket/…`, or `file:///dir`, which allows loading from that folder. The longest prefix that matches wins.',
    }),
    endpoint: Type.Optional(
      url({
        live: true,
        description: 'S3 endpoint.',
        unset: "`AWS_ENDPOINT_URL`, else the profile's `endpoint_url`, else AWS's",
      }),
    ),
    region: Type.Optional(text({ live: true, description: 'S3 region.', unset: '`AWS_REGION` or the profile' })),
    path_style: Type.Optional(
      flag({
        live: true,
        description: 'Whether the bucket is part of the path rather than of the host.',
        unset: "true unless the endpoint is Amazon's",
      }),
    ),
    anonymous: Type.Optional(flag({ live: true, description: 'Send requests unsigned.', default: false })),
    access_key_id: Type.Optional(
      text({
        live: true,
        description: 'Key id; together with `secret_access_key`.',
        secret: true,
        unset: "AWS's usual credential chain",
      }),
    ),
    ...secret('secret_access_key', { live: true, description: 'Secret of the key.' }),
    profile: Type.Optional(text({ live: true, description: 'Profile of the AWS configuration files.' })),
    ca_file: Type.Optional(path({ live: true, description: "Certificates (PEM) to trust in place of the system's." })),
    max_bandwidth: Type.Optional(
      size({
        live: true,
        description:
          "Bytes a second that all workers together read from the origin. For a whole origin only: `s3://`, `s3://bucket`, `file:///dir`. The coordinator's counts; a worker's own says which origins it leaves alone until it was told its share.",
        minimum: 1,
        unset: 'no limit',
      }),
    ),
    max_requests_per_second: Type.Optional(
      integer({
        live: true,
        description:
          'Requests a second, of all kinds, that workers and coordinator together send to the origin; otherwise as `max_bandwidth`.',
        minimum: 1,
        maximum: 1_000_000,
        unset: 'no limit',
      }),
    ),
    ...readSettings,
    ...ufsPrices,
  },
  {
    ...closed,
    description:
      'One for each origin that needs more than the AWS environment says, and for each folder that `file://` may read.',
  },
);

export const configSchema = Type.Object(
  {
    data_dir: path({
      description: 'Folder for everything that has no other place: jobs, index, default store.',
      default: './primed-data',
      flag: 'data',
    }),
    insecure: flag({ description: 'Allow listening beyond loopback without a token.', default: false }),
    ...secret('api_token', {
      live: 'replaced',
      description:
        'Token that clients send as `Authorization: Bearer …` to the API and worker ports: printable ASCII, no spaces.',
      pattern: '^[!-~]+$',
      unset: 'no token is asked for',
    }),
    token: Type.Optional(Type.Array(tokenSchema, { maxItems: 100 })),
    certificate: Type.Optional(Type.Array(certificateSchema, { maxItems: 100 })),
    api: Type.Object(
      {
        listen: listen({
          description: 'Address of the coordinator: job API, metrics, health.',
          default: '127.0.0.1:19999',
          flag: 'api',
        }),
      },
      { ...closed, description: 'The coordinator.' },
    ),
    worker: Type.Object(
      {
        http_listen: listen({
          description: 'Address of the worker: page API, metrics, health.',
          default: '127.0.0.1:28080',
          flag: 'http',
        }),
        s3_listen: listen({
          description: 'Address of the S3 port.',
          default: '127.0.0.1:29998',
          flag: 's3',
        }),
        memory_budget: Type.Optional(
          size({
            description: 'Memory of the worker for everything that grows with load: slots, sockets, index cache.',
            minimum: 64 * MiB,
            unset:
              'a 32nd of the memory of the machine (or of its control group), at least 512MB, at most 4GB; where there are less than 2GB, a quarter, and no less than the lanes need; more for a network that is faster than 12 Gbit/s (3.9GB for 100 Gbit/s), of at most an eighth of the memory',
          }),
        ),
        lanes: Type.Optional(
          integer({
            description: 'Threads that move bytes.',
            minimum: 1,
            maximum: mostLanes,
            unset: `one for two cores, at least 1, at most ${mostDefaultLanes}`,
          }),
        ),
        serving_threads: Type.Optional(
          integer({
            description: 'Threads that answer on the S3 port.',
            minimum: 1,
            maximum: mostLanes,
            unset: `one a core, at most ${mostDefaultServing}`,
          }),
        ),
        read_cache: Type.Optional(
          size({
            description:
              'Memory for pages of files that were read on the S3 port, beside `memory_budget`; it is taken as files are read, and kept. What clients have not taken yet may keep half as much again.',
            minimum: leastReadCacheBytes,
            unset: 'an eighth of the memory of the machine (or of its control group)',
          }),
        ),
        yield_to_readers: flag({
          live: true,
          description:
            'While cached files are read on the S3 port, loads have what readers and the rest of the machine leave of the cores.',
          default: true,
        }),
        load_floor: number({
          live: true,
          description: 'Where that is nothing, the share of the time in which loads run as they would without readers.',
          default: 0.05,
          minimum: 0.01,
          maximum: 0.9,
        }),
        part_size: size({
          description: 'One ranged GET of a large object; a multiple of 1 MiB.',
          default: '8MB',
          minimum: pageBytes,
          maximum: 64 * MiB,
          multipleOf: pageBytes,
        }),
        sockets_per_lane: integer({
          description: 'Connections to origins that one lane holds at most.',
          default: 64,
          minimum: 1,
          maximum: 1024,
        }),
        small_object_max: size({
          description: 'Objects up to this size are fetched whole and share a write.',
          default: '1MB',
          minimum: 4 * KiB,
          maximum: 8 * MiB,
        }),
        disk_engine: choice(['auto', 'io_uring', 'threads'], {
          description: 'How stores are written; `auto` takes io_uring where the kernel allows it.',
          default: 'auto',
        }),
        disk_timeout: duration({
          description:
            'A disk that has not ended a write, a read or a flush of the store for so long is taken for hung: the worker is not ready, and leaves the cluster until the disk has ended them, so that others load and serve what it had.',
          default: '30s',
          minimum: 1_000,
        }),
        store_size: Type.Optional(
          room({
            description:
              'Size of the default store, when there is no `[[worker.store]]`, or its share of the disk, which leaves an existing store as it is.',
            minimum: leastStoreBytes,
            flag: 'store-size',
            unset: '20GB, or 80% of the free disk where that is less; an existing store keeps its size',
          }),
        ),
        store: Type.Optional(Type.Array(storeSchema, { maxItems: 64 })),
      },
      { ...closed, description: 'The worker.' },
    ),
    cluster: Type.Object(
      {
        backend: choice(['embedded', 'etcd'], {
          description:
            'Who knows the workers: `embedded` is the one coordinator, with which they register; `etcd` is etcd, for several coordinators.',
          default: 'embedded',
        }),
        name: text({
          description:
            'Backend etcd: name of the cluster, the same for all of its nodes and for clients that look workers up in etcd: letters, digits, `.`, `_`, `-`.',
          pattern: '^[A-Za-z0-9._-]{1,100}$',
          default: 'DefaultAlluxioCluster',
        }),
        etcd: etcdSchema,
        ...secret('token', {
          live: 'replaced',
          description:
            'Token that coordinator and workers send each other as `Authorization: Bearer …`: printable ASCII, no spaces. The same everywhere.',
          pattern: '^[!-~]+$',
          unset: '`api_token`',
        }),
        lease: duration({
          description:
            'A worker that is silent for so long is lost. Workers renew their lease three times as often. Coordinators say it, with the backend etcd each worker for itself: in whole seconds, and no less than etcd allows.',
          default: '10s',
          minimum: 1000,
          maximum: 600_000,
        }),
        coordinator: text({
          description: 'Worker: address of its coordinator, `http://HOST:PORT`; not with the backend etcd.',
          default: 'http://127.0.0.1:19999',
          flag: 'coordinator',
          env: 'PRIMED_COORDINATOR',
        }),
        host: Type.Optional(
          text({
            description:
              'Host name or address by which other nodes reach this one: a worker, or a coordinator with the backend etcd. A certificate of the node names it.',
            pattern: hostPattern,
            flag: 'host',
            unset:
              "the host of `worker.http_listen` (a coordinator: of `api.listen`), or the machine's name where that is all addresses",
          }),
        ),
        id: Type.Optional(
          text({
            description:
              'Worker: what it is known by over restarts, one of its own for each: letters, digits, `.`, `_`, `:`, `-`, at most 100.',
            pattern: workerIdPattern,
            unset: '`host`',
          }),
        ),
        zone: Type.Optional(
          text({
            description: 'Worker: rack or zone; replicas are spread over zones. The same characters as in `id`.',
            pattern: workerIdPattern,
          }),
        ),
      },
      { ...closed, description: 'Workers on other machines.' },
    ),
    store: retentionSchema,
    s3: s3Schema,
    tls: Type.Object(
      {
        cert_file: Type.Optional(
          path({
            live: 'replaced',
            description:
              'Certificate of this node (PEM, with its chain), for the names and addresses by which others reach it. With it the ports speak TLS only.',
            unset: 'plain HTTP',
          }),
        ),
        key_file: Type.Optional(
          path({ live: 'replaced', description: 'Key of that certificate (PEM, without a passphrase).' }),
        ),
        ca_file: Type.Optional(
          path({
            live: 'replaced',
            description: 'Certificates (PEM) by which nodes of the cluster check each other.',
            unset: "the system's",
          }),
        ),
        client_ca_file: Type.Optional(
          path({
            live: 'replaced',
            description:
              'Certificates (PEM) of the CA of people and programs: API and worker ports ask clients for a certificate, and `[[certificate]]` says what who has one may. Another CA than that of nodes.',
            unset: 'people show tokens only',
          }),
        ),
        crl_file: Type.Optional(
          path({
            live: true,
            description:
              'Lists of revoked certificates (PEM, one or several), each signed by a CA of `client_ca_file` or `ca_file`. When one has ended, every certificate of its CA is refused.',
            unset: 'none is revoked',
          }),
        ),
        nodes: choice(['token', 'mtls'], {
          description:
            'By what nodes know each other: `token` is `cluster.token`; `mtls` is a client certificate that `ca_file` has signed, so that CA has to be one that signs nodes only.',
          default: 'token',
        }),
        s3: flag({
          description: 'Whether the S3 port speaks TLS as well, where `cert_file` is set.',
          default: true,
        }),
      },
      { ...closed, description: 'HTTPS on the ports, and TLS between nodes. The same in the whole cluster.' },
    ),
    ingest: Type.Object(
      {
        max_attempts: integer({
          live: true,
          description:
            'Requests for one part at most; answers that ask for patience (503 SlowDown, 429) count separately.',
          default: 8,
          minimum: 1,
          maximum: 100,
        }),
        max_throttled_attempts: integer({
          live: true,
          description: 'Requests for one part at most while the origin throttles.',
          default: 30,
          minimum: 1,
          maximum: 1000,
        }),
        retry_base: duration({
          live: true,
          description: 'Wait before the second attempt; it doubles with each one, and half of it is random.',
          default: '100ms',
          minimum: 1,
          maximum: 60_000,
        }),
        retry_max: duration({
          live: true,
          description: 'Longest wait between two attempts.',
          default: '20s',
          minimum: 1,
          maximum: 600_000,
        }),
        retry_budget: number({
          live: true,
          description: 'Extra requests that a load may send, as a share of those that succeeded.',
          default: 0.5,
          minimum: 0,
          maximum: 100,
        }),
        retry_budget_floor: integer({
          live: true,
          description: 'Extra requests that every load may send whatever its size.',
          default: 200,
          minimum: 0,
          maximum: 1_000_000,
        }),
        connect_timeout: duration({
          live: true,
          description: 'Time for a connection to the origin, TLS included.',
          default: '5s',
          minimum: 10,
          maximum: 600_000,
        }),
        first_byte_timeout: duration({
          live: true,
          description: 'Time from a request to the first byte of its answer.',
          default: '30s',
          minimum: 10,
          maximum: 600_000,
        }),
        stall_timeout: duration({
          live: true,
          description: 'Longest silence within an answer.',
          default: '30s',
          minimum: 10,
          maximum: 600_000,
        }),
      },
      { ...closed, description: 'How loads deal with a slow or failing origin.' },
    ),
    job: Type.Object(
      {
        batch_size: integer({
          live: true,
          description: 'Files handed to a worker at a time, where a load does not say `batchSize`.',
          default: 512,
          minimum: 1,
          maximum: 100_000,
        }),
        segment_size: size({
          description:
            'What one worker takes of a file at a time, where a load does not say `segmentSize`: larger files are cut, and spread over workers. A multiple of 1 MiB.',
          default: '64MB',
          minimum: leastSegmentBytes,
          maximum: mostSegmentBytes,
          multipleOf: MiB,
        }),
        retention: duration({
          live: true,
          description: 'How long an ended job stays listed.',
          default: '7d',
          minimum: 1000,
          maximum: 3650 * dayMs,
        }),
        max_active: integer({
          live: true,
          description: 'Jobs that run at once; others wait.',
          default: 4,
          minimum: 1,
          maximum: 64,
        }),
        max_waiting: integer({
          live: true,
          description: 'Jobs that wait at most; one more is refused with `JOB_LIMIT`.',
          default: 100,
          minimum: 0,
          maximum: 10_000,
        }),
        max_ended: integer({
          live: true,
          description: 'Ended jobs that stay listed at most, whatever their age; the oldest go first.',
          default: 1000,
          minimum: 1,
          maximum: 10_000,
        }),
        changed_object: choice(['restart', 'fail'], {
          live: true,
          description: 'What happens to a file that changes at the origin while it is loaded.',
          default: 'restart',
        }),
        max_restarts: integer({
          description: 'Times that one file is begun anew because it changed.',
          default: 3,
          minimum: 0,
          maximum: 100,
        }),
      },
      { ...closed, description: 'Load jobs.' },
    ),
    price: priceSchema,
    reading: readingSchema,
    scrub: scrubSchema,
    log: Type.Object(
      {
        level: choice(['debug', 'info', 'warn', 'error'], {
          live: true,
          description: 'Least important line that is written.',
          default: 'info',
        }),
        pretty: flag({ description: 'Lines for people in place of JSON.', default: false }),
      },
      { ...closed, description: 'The log, on standard output.' },
    ),
    traces: tracesSchema,
    ufs: Type.Optional(Type.Array(ufsSchema, { maxItems: 1000 })),
  },
  closed,
);
