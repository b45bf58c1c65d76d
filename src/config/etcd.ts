/** `[cluster.etcd]`: its settings, what must hold between them, and what the program gets of them. */
import Type from 'typebox';
import type { Draft } from './draft.ts';
import { duration, isLoopback, path, secret, text, withoutUser } from './forms.ts';

export interface EtcdConfig {
  readonly endpoints: readonly string[];
  /** Ends with a slash. Below it all keys of this cluster lie. */
  readonly prefix: string;
  readonly username?: string;
  readonly password?: string;
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  readonly timeoutMs: number;
  /** How long a coordinator that is silent keeps its jobs. */
  readonly coordinatorLeaseMs: number;
}

export const etcdSchema = Type.Object(
  {
    endpoints: Type.Optional(
      text({
        description:
          'Members of etcd, `http://HOST:PORT` or `https://HOST:PORT`, with commas between them; needed for the backend `etcd`.',
      }),
    ),
    prefix: text({
      description:
        'Keys of clusters lie below it, those of this one below `prefix/name/`. What clients of Alluxio read lies below `/ServiceDiscovery/` all the same.',
      default: '/primed',
    }),
    username: Type.Optional(text({ description: 'User of etcd; together with `password`.' })),
    ...secret('password', { description: 'Password of that user.' }),
    ca_file: Type.Optional(
      path({ live: 'replaced', description: 'Certificates (PEM) that sign those of etcd.', unset: "the system's" }),
    ),
    cert_file: Type.Optional(
      path({
        live: 'replaced',
        description:
          'Certificate (PEM) that etcd is shown, where it asks for one; together with `key_file`. It opens the connection, and is no user: etcd knows users by password only here.',
      }),
    ),
    key_file: Type.Optional(path({ live: 'replaced', description: 'Key (PEM) of `cert_file`.' })),
    timeout: duration({
      description: 'Longest time of a call, over all endpoints that are tried for it.',
      default: '5s',
      minimum: 100,
      maximum: 60_000,
    }),
    coordinator_lease: duration({
      description:
        'A coordinator that is silent for so long is lost, and others take its jobs. It decides nothing any more when three quarters are over. In whole seconds, and no less than etcd allows.',
      default: '5s',
      minimum: 2000,
      maximum: 600_000,
    }),
  },
  {
    additionalProperties: false,
    description: 'etcd (3.4 or later), for `backend = "etcd"`.',
  },
);

const names = [
  'endpoints',
  'prefix',
  'username',
  'password',
  'password_file',
  'ca_file',
  'cert_file',
  'key_file',
  'timeout',
  'coordinator_lease',
] as const;
const at = (name: (typeof names)[number]): string => `cluster.etcd.${name}`;

/** Undefined for another backend. */
export function etcdOf({ values }: Draft): EtcdConfig | undefined {
  if (values.get('cluster.backend') !== 'etcd') return undefined;
  const get = (name: (typeof names)[number]): string | undefined => values.get(at(name)) as string | undefined;
  const optional = <K extends string>(key: K, value: string | undefined): { [P in K]?: string } =>
    (value === undefined ? {} : { [key]: value }) as { [P in K]?: string };
  return {
    endpoints: endpointsIn(get('endpoints')),
    prefix: `${get('prefix')!.replace(/\/+$/, '')}/${values.get('cluster.name')}/`,
    ...optional('username', get('username')),
    ...optional('password', get('password')),
    ...optional('caFile', get('ca_file')),
    ...optional('certFile', get('cert_file')),
    ...optional('keyFile', get('key_file')),
    timeoutMs: values.get(at('timeout')) as number,
    coordinatorLeaseMs: values.get(at('coordinator_lease')) as number,
  };
}

/** The setting of the port by which other nodes reach one of this role. */
export function portOthersCall(role: string): 'api.listen' | 'worker.http_listen' {
  return role === 'coordinator' ? 'api.listen' : 'worker.http_listen';
}

type Complain = (draft: Draft, key: string, problem: string) => void;

/** Tells `complain` what is wrong. `role`: of this node. */
export function checkEtcd(draft: Draft, role: string, complain: Complain): void {
  const value = (name: (typeof names)[number]): string | undefined => draft.values.get(at(name)) as string | undefined;
  const wrong = (name: (typeof names)[number], problem: string): void => complain(draft, at(name), problem);
  if (draft.values.get('cluster.backend') !== 'etcd') {
    for (const name of names) {
      const kind = draft.sources.get(at(name))?.kind;
      if (kind !== undefined && kind !== 'default') wrong(name, 'is for cluster.backend = "etcd" only');
    }
    const kind = draft.sources.get('cluster.name')?.kind;
    if (kind !== undefined && kind !== 'default')
      complain(draft, 'cluster.name', 'is for cluster.backend = "etcd" only');
    return;
  }
  if (role === 'standalone') {
    complain(
      draft,
      'cluster.backend',
      'etcd is for coordinators and workers that run apart; standalone is both in one',
    );
  }
  checkEndpoints(draft, role, value('endpoints'), complain);
  const prefix = value('prefix');
  if (prefix !== undefined && !/^(?:\/[A-Za-z0-9._-]+)+\/?$/.test(prefix))
    wrong('prefix', `must be a path such as /primed, of letters, digits, ".", "_" and "-", not "${prefix}"`);
  else if (prefix !== undefined && /^\/ServiceDiscovery(?:\/|$)/.test(prefix))
    wrong('prefix', 'clients of Alluxio read everything below /ServiceDiscovery; choose another one');
  for (const [one, other] of [
    ['username', 'password'],
    ['password', 'username'],
    ['cert_file', 'key_file'],
    ['key_file', 'cert_file'],
  ] as const) {
    if (value(one) !== undefined && value(other) === undefined) wrong(one, `needs ${at(other)} beside it`);
  }
}

function checkEndpoints(draft: Draft, role: string, written: string | undefined, complain: Complain): void {
  const key = at('endpoints');
  const endpoints = endpointsIn(written);
  if (endpoints.length === 0) {
    complain(draft, written === undefined ? 'cluster.backend' : key, `etcd needs ${key}`);
    return;
  }
  for (const endpoint of endpoints) {
    const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
    const names = url !== undefined && `${url.username}${url.password}` !== '';
    if (url === undefined || !/^https?:$/.test(url.protocol) || url.pathname !== '/' || names) {
      complain(draft, key, `"${withoutUser(endpoint)}" is not http://HOST:PORT or https://HOST:PORT`);
      return;
    }
  }
  const urls = endpoints.map((endpoint) => new URL(endpoint));
  const plain = urls.find(({ protocol }) => protocol === 'http:');
  if (plain !== undefined) {
    for (const name of ['ca_file', 'cert_file', 'key_file'] as const)
      if (draft.values.has(at(name))) complain(draft, at(name), `is of no use for ${plain.origin}; write https://`);
    if (draft.values.has(at('password')) && !isLoopback(hostOf(plain)) && draft.values.get('insecure') !== true)
      complain(
        draft,
        key,
        `${plain.origin} would get the password in clear text; write https://, or set insecure = true`,
      );
  }
  // Where etcd is somewhere else, the others are too.
  const far = urls.find((url) => !isLoopback(hostOf(url)));
  if (role === 'standalone' || far === undefined || draft.values.has('cluster.host')) return;
  const port = portOthersCall(role);
  const listen = String(draft.values.get(port));
  if (isLoopback(listen.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')))
    complain(
      draft,
      port,
      `nodes at other machines than this one, as ${hostOf(far)} is, cannot reach ${listen}; listen on an address of the network, or set cluster.host`,
    );
}

function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, '');
}

function endpointsIn(written: string | undefined): string[] {
  return (written ?? '')
    .split(',')
    .map((endpoint) => endpoint.trim())
    .filter((endpoint) => endpoint !== '');
}
