/** What only a look at the machine shows: folders without rights, disks that are too small, certificates, ports. */
import { accessSync, constants, existsSync, realpathSync, statfsSync, statSync } from 'node:fs';
import { formatSize } from '../core/sizes.ts';
import { clusterOf, type Role } from './config.ts';
import { existingStoreBytes, nearestExisting, storesOf } from './defaults.ts';
import { complain, type Draft } from './draft.ts';
import { checkPorts } from './ports.ts';
import { type OwnNode, problemsWithOwn, readClientCa, readRevocations, readTlsFiles } from './tls-files.ts';

/**
 * Adds to the errors of the draft, and to what was found right.
 * @param portsInUse whether a port that is taken is an error; undefined: ports are not looked at
 */
export async function checkMachine(draft: Draft, role: Role, portsInUse?: 'error' | 'found'): Promise<void> {
  const dataUsable = checkFolder(draft, 'data_dir');
  if (role !== 'coordinator') checkStores(draft, dataUsable);
  checkTls(draft, role, 'tls');
  if (draft.values.get('cluster.backend') === 'etcd') checkTls(draft, role, 'cluster.etcd');
  for (let index = 0; index < (draft.counts.get('ufs') ?? 0); index++) checkTls(draft, role, `ufs[${index}]`);
  if (portsInUse !== undefined) await checkPorts(draft, role, portsInUse);
}

/** @param dataUsable the folder is where the default store lies */
function checkStores(draft: Draft, dataUsable: boolean): void {
  const count = draft.counts.get('worker.store') ?? 0;
  const keys = Array.from({ length: count }, (_, index) => `worker.store[${index}]`);
  checkApart(draft, keys);
  const usable = keys.map((key) => checkFolder(draft, `${key}.dir`) && draft.values.has(`${key}.size`));
  if (dataUsable && usable.every(Boolean)) checkRoom(draft);
}

/** One folder may have several names, by links; those that are written alike were told of before. */
function checkApart(draft: Draft, keys: readonly string[]): void {
  const seen = new Map<string, { key: string; dir: string }>();
  for (const key of keys) {
    const dir = draft.values.get(`${key}.dir`);
    if (typeof dir !== 'string' || !existsSync(dir)) continue;
    const real = realpathSync(dir);
    const earlier = seen.get(real);
    if (earlier !== undefined && earlier.dir !== dir)
      complain(draft, `${key}.dir`, `is the folder of ${earlier.key} as well, ${real}; each store has its own`);
    else seen.set(real, { key, dir });
  }
}

/** True: it is a folder that may be written, or one that can be made. */
function checkFolder(draft: Draft, key: string): boolean {
  const dir = draft.values.get(key);
  if (typeof dir !== 'string') return false;
  const problem = problemWithFolder(dir);
  if (problem === undefined) draft.found.push(`${key}: ${dir} may be written`);
  else complain(draft, key, problem);
  return problem === undefined;
}

function problemWithFolder(dir: string): string | undefined {
  let there = dir;
  try {
    there = nearestExisting(dir);
    if (!statSync(there).isDirectory()) return `${there} is not a folder`;
    accessSync(there, constants.R_OK | constants.W_OK | constants.X_OK);
    return undefined;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const made = there === dir ? '' : `, and ${dir} cannot be made in it`;
    if (code === 'EROFS')
      return `${there} cannot be written here (EROFS)${made}; a unit of systemd needs ReadWritePaths=${there}`;
    if (code === 'ENOTDIR') return `something above ${dir} is not a folder (ENOTDIR)`;
    if (code !== 'EACCES') return `${dir} cannot be used: ${message}`;
    const user = process.getuid?.() ?? '?';
    return `the user of the daemon (uid ${user}) may not write to ${there} (EACCES)${made}; chown it, or choose another folder`;
  }
}

/** Stores that are not made yet take their room from what their disk has free. */
function checkRoom(draft: Draft): void {
  const wanted = new Map<number, { bytes: number; keys: string[]; dir: string }>();
  storesOf(draft).forEach(({ dir, sizeBytes }, index) => {
    const named = (draft.counts.get('worker.store') ?? 0) > 0;
    const key = named ? `worker.store[${index}].size` : 'worker.store_size';
    const existing = existingStoreBytes(dir);
    const is = existing === undefined ? 'to be made' : 'exists';
    draft.found.push(`${named ? `worker.store[${index}]` : 'store'}: ${dir}, ${formatSize(sizeBytes)}, ${is}`);
    if (existing !== undefined) return;
    const disk = statSync(nearestExisting(dir)).dev;
    const { bytes = 0, keys = [] } = wanted.get(disk) ?? {};
    wanted.set(disk, { bytes: bytes + sizeBytes, keys: [...keys, key], dir });
  });
  for (const { bytes, keys, dir } of wanted.values()) {
    const { bavail, bsize } = statfsSync(nearestExisting(dir));
    const freeBytes = bavail * bsize;
    if (bytes <= freeBytes) continue;
    const [first, ...others] = keys;
    const together = others.length === 0 ? '' : ` together with ${others.join(', ')}`;
    complain(
      draft,
      first!,
      `${formatSize(bytes)}${together} is more than the ${formatSize(freeBytes)} that the disk of ${dir} has free`,
    );
  }
}

const dayMs = 86_400_000;

function nodeOf(draft: Draft, role: Role): OwnNode {
  const { backend, host } = clusterOf(draft, role);
  return { role, backend, host, nodes: draft.values.get('tls.nodes') as OwnNode['nodes'] };
}

function checkTls(draft: Draft, role: Role, table: string): void {
  const file = (name: string): string | undefined => draft.values.get(`${table}.${name}`) as string | undefined;
  const { pem, problems, endsMs } = readTlsFiles({
    caFile: file('ca_file'),
    certFile: file('cert_file'),
    keyFile: file('key_file'),
  });
  for (const { setting, problem } of problems) complain(draft, `${table}.${setting}`, problem);
  const nodeCa = draft.values.get('tls.nodes') === 'mtls' ? pem.ca : undefined;
  const clients = readClientCa(file('client_ca_file'), nodeCa);
  if (clients.problem !== undefined) complain(draft, `${table}.client_ca_file`, clients.problem);
  checkRevocations(draft, `${table}.crl_file`, [pem.ca, clients.pem]);
  if (problems.length > 0) return;
  const own = table === 'tls' ? problemsWithOwn(pem, nodeOf(draft, role)) : [];
  for (const { setting, problem } of own) complain(draft, `${table}.${setting}`, problem);
  if (own.length === 0 && endsMs !== undefined) {
    const days = Math.floor((endsMs - Date.now()) / dayMs);
    draft.found.push(
      `${table}.cert_file: ${file('cert_file')} is valid for ${days} more days, and ${table}.key_file is its key`,
    );
  }
}

/** Of a CA that cannot be read nobody knows whether a list is its own. */
function checkRevocations(draft: Draft, key: string, ca: readonly (string | undefined)[]): void {
  if (ca.every((one) => one === undefined)) return;
  const file = draft.values.get(key) as string | undefined;
  const { revocations, problem } = readRevocations(file, ca);
  if (problem !== undefined) complain(draft, key, problem);
  for (const { ca: name, revoked, endsMs } of revocations?.ends ?? []) {
    const words = `${key}: the list of ${name} revokes ${revoked} certificates`;
    if (endsMs === undefined) draft.found.push(`${words}, and says no time when it ends`);
    else if (endsMs > Date.now()) draft.found.push(`${words}, until ${new Date(endsMs).toISOString()}`);
    else
      draft.found.push(
        `WARNING: ${words}, and has ended (${new Date(endsMs).toISOString()}): every certificate of that CA is refused until a new one is in its place`,
      );
  }
}
