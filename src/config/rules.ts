/** What must hold between settings. Each broken rule is one sentence with the place of the setting to change. */
import { isAbsolute } from 'node:path';
import { hostPattern, workerIdPattern } from '../core/membership.ts';
import { formatSize } from '../core/sizes.ts';
import { checkCertificates } from './client-certificates.ts';
import { clusterOf, type Role } from './config.ts';
import { lanesOf, leastBudgetBytes, memoryBudgetOf } from './defaults.ts';
import { complain, type Draft } from './draft.ts';
import { checkEtcd } from './etcd.ts';
import { isLoopback, namesUser, parseListen, userProblem, withoutUser } from './forms.ts';
import { portsOf } from './ports.ts';
import { checkReading } from './reading.ts';
import { checkRetention } from './retention.ts';
import { asksForKeys, checkS3 } from './s3.ts';
import { checkTokens } from './tokens.ts';
import { checkTraces } from './traces.ts';

export function checkRules(draft: Draft, role: Role): void {
  checkListening(draft, role);
  checkMemory(draft);
  checkStores(draft);
  if (role !== 'standalone') checkHost(draft, role);
  if (role === 'worker') checkWorker(draft);
  checkEtcd(draft, role, complain);
  checkTls(draft, role);
  checkS3(draft, complain);
  checkTraces(draft);
  checkTokens(draft, complain);
  checkCertificates(draft, complain);
  checkRetention(draft, (key, problem) => complain(draft, key, problem));
  checkReading(draft, complain);
  for (let index = 0; index < (draft.counts.get('ufs') ?? 0); index++) checkUfs(draft, index);
  for (const table of ['ufs', 'reading.rule']) checkPrefixes(draft, table);
  checkOrder(draft, 'ingest.retry_base', 'ingest.retry_max');
}

/** Whoever can connect can read everything that is cached, and spend the origin's bandwidth. */
function checkListening(draft: Draft, role: Role): void {
  if (draft.values.get('insecure') === true) return;
  for (const { key, asksForToken } of portsOf(role)) {
    const listen = parseListen(String(draft.values.get(key)));
    if (listen === undefined || isLoopback(listen.host)) continue;
    if (!asksForToken) {
      if (asksForKeys(draft)) continue;
      complain(
        draft,
        key,
        `${listen.host} is not a loopback address, and the S3 port answers unsigned requests; set [[s3.key]], or insecure = true to allow it`,
      );
    } else if (!draft.values.has('api_token')) {
      complain(
        draft,
        key,
        `${listen.host} is not a loopback address, and there is no api_token; set one, or insecure = true`,
      );
    }
  }
}

function checkHost(draft: Draft, role: Role): void {
  const { host } = clusterOf(draft, role);
  if (!new RegExp(hostPattern).test(host)) complain(draft, 'cluster.host', `"${host}" is not a host name or address`);
}

/** A worker has to find its coordinator, and to be found under an address and an id that no other worker has. */
function checkWorker(draft: Draft): void {
  if (draft.values.get('cluster.backend') === 'etcd') checkNoCoordinator(draft);
  else checkCoordinator(draft);
  const { id, host } = clusterOf(draft, 'worker');
  if (new RegExp(hostPattern).test(host) && !new RegExp(workerIdPattern).test(id))
    complain(draft, 'cluster.id', `"${id}", the host, cannot be an id: it has more than 100 characters; set one`);
}

/** In the environment it may be meant for the client verbs. */
function checkNoCoordinator(draft: Draft): void {
  const kind = draft.sources.get('cluster.coordinator')?.kind;
  if (kind === 'file' || kind === 'flag')
    complain(draft, 'cluster.coordinator', 'is of no use with cluster.backend = "etcd": workers are found there');
}

function checkCoordinator(draft: Draft): void {
  const written = String(draft.values.get('cluster.coordinator'));
  const url = /^[a-z]+:\/\//i.test(written) ? written : `http://${written}`;
  if (namesUser(url)) {
    complain(draft, 'cluster.coordinator', `${userProblem}; use cluster.token`);
    return;
  }
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    complain(
      draft,
      'cluster.coordinator',
      `must be the address of a coordinator, http://HOST:PORT, not "${withoutUser(written)}"`,
    );
    return;
  }
  const { host } = clusterOf(draft, 'worker');
  const coordinatorHost = new URL(url).hostname.replace(/^\[|\]$/g, '');
  if (!draft.values.has('cluster.host') && isLoopback(host) && !isLoopback(coordinatorHost)) {
    complain(
      draft,
      'worker.http_listen',
      `the coordinator ${coordinatorHost} cannot reach ${host}; listen on an address of the network, or set cluster.host`,
    );
  }
}

function checkTls(draft: Draft, role: Role): void {
  const has = (name: string): boolean => draft.values.has(`tls.${name}`);
  for (const [one, other] of [
    ['cert_file', 'key_file'],
    ['key_file', 'cert_file'],
  ] as const) {
    if (has(one) && !has(other)) complain(draft, `tls.${one}`, `needs tls.${other} beside it`);
  }
  if (has('crl_file') && !has('client_ca_file') && !has('ca_file'))
    complain(draft, 'tls.crl_file', 'counts only beside tls.client_ca_file or tls.ca_file, whose lists it has');
  if (draft.values.get('tls.nodes') !== 'mtls') return;
  for (const name of ['cert_file', 'key_file', 'ca_file'])
    if (!has(name)) complain(draft, 'tls.nodes', `mtls needs tls.${name}`);
  const coordinator = String(draft.values.get('cluster.coordinator'));
  const dials = role === 'worker' && draft.values.get('cluster.backend') !== 'etcd';
  if (dials && !/^https:/i.test(coordinator))
    complain(draft, 'cluster.coordinator', `has to be https://…, because tls.nodes is mtls, not "${coordinator}"`);
}

function checkMemory(draft: Draft): void {
  const lanes = lanesOf(draft);
  const part = draft.values.get('worker.part_size');
  const budget = memoryBudgetOf(draft);
  if (typeof part !== 'number') return;
  const leastBytes = leastBudgetBytes(lanes, part);
  if (budget >= leastBytes) return;
  complain(
    draft,
    'worker.memory_budget',
    `${formatSize(budget)} is too little for ${lanes} lanes with parts of ${formatSize(part)}: they need ${formatSize(leastBytes)}; lower worker.lanes or worker.part_size`,
  );
}

function checkStores(draft: Draft): void {
  const count = draft.counts.get('worker.store') ?? 0;
  if (count > 0 && draft.values.has('worker.store_size')) {
    complain(
      draft,
      'worker.store_size',
      'is for the default store, but there are [[worker.store]] entries with sizes of their own',
    );
  }
  const seen = new Map<unknown, number>();
  for (let index = 0; index < count; index++) {
    const key = `worker.store[${index}].dir`;
    const dir = draft.values.get(key);
    if (dir === undefined) continue;
    const earlier = seen.get(dir);
    if (earlier !== undefined)
      complain(draft, key, `is the folder of worker.store[${earlier}] as well; each store has its own`);
    else seen.set(dir, index);
  }
}

/** Of two entries for the same paths one would do nothing. */
function checkPrefixes(draft: Draft, table: string): void {
  const seen = new Map<string, number>();
  for (let index = 0; index < (draft.counts.get(table) ?? 0); index++) {
    const key = `${table}[${index}].prefix`;
    const prefix = draft.values.get(key);
    if (typeof prefix !== 'string') continue;
    // Of an origin the slash at the end says nothing; a rule without it is for the object of that name as well.
    const paths = table === 'ufs' ? prefix.replace(/(?<=[^/])\/$/, '') : prefix;
    const earlier = seen.get(paths);
    if (earlier !== undefined)
      complain(draft, key, `is the prefix of ${table}[${earlier}] as well; one entry has it all`);
    else seen.set(paths, index);
  }
}

const onlyS3 = [
  'endpoint',
  'region',
  'path_style',
  'anonymous',
  'access_key_id',
  'secret_access_key',
  'profile',
  'ca_file',
];

function checkUfs(draft: Draft, index: number): void {
  const at = (name: string): string => `ufs[${index}].${name}`;
  const has = (name: string): boolean => draft.values.has(at(name));
  const prefix = draft.values.get(at('prefix'));
  if (typeof prefix === 'string') {
    if (prefix.startsWith('s3') && namesUser(prefix))
      complain(draft, at('prefix'), `${userProblem}; use access_key_id and secret_access_key`);
    else if (prefix.startsWith('file://')) checkFileRoot(draft, at, prefix);
    else if (!/^s3:\/\/(?:[^/]+(?:\/.*)?)?$/.test(prefix)) {
      complain(draft, at('prefix'), `must be s3://, s3://bucket/… or file:///dir, not "${withoutUser(prefix)}"`);
    }
  }
  if (namesUser(String(draft.values.get(at('endpoint')))))
    complain(draft, at('endpoint'), `${userProblem}; use access_key_id and secret_access_key`);
  if (has('access_key_id') !== has('secret_access_key')) {
    const [there, missing] = has('access_key_id')
      ? ['access_key_id', 'secret_access_key']
      : ['secret_access_key', 'access_key_id'];
    complain(draft, at(there), `needs ${missing} beside it`);
  }
  if (draft.values.get(at('anonymous')) === true) {
    for (const name of ['access_key_id', 'profile']) {
      if (has(name)) complain(draft, at(name), 'cannot be used together with anonymous = true');
    }
  } else if (has('profile') && has('access_key_id'))
    complain(draft, at('profile'), 'cannot be used together with access_key_id');
  for (const name of ['max_bandwidth', 'max_requests_per_second']) {
    if (has(name) && typeof prefix === 'string' && /^s3:\/\/[^/]+\/./.test(prefix))
      complain(draft, at(name), `is for a whole origin, s3://bucket, and this is the entry of ${prefix}`);
  }
}

function checkFileRoot(draft: Draft, at: (name: string) => string, prefix: string): void {
  if (!isAbsolute(prefix.slice('file://'.length)))
    complain(draft, at('prefix'), `must name an absolute folder: file:///dir, not "${prefix}"`);
  for (const name of onlyS3) {
    if (draft.values.has(at(name))) complain(draft, at(name), 'is for s3:// prefixes only');
  }
}

function checkOrder(draft: Draft, lower: string, upper: string): void {
  const [low, high] = [draft.values.get(lower), draft.values.get(upper)];
  if (typeof low === 'number' && typeof high === 'number' && low > high)
    complain(draft, lower, `must not be longer than ${upper}`);
}
