/** What facts about a node mean: pure, so that every verdict can be tried without a machine that is ill. */
import { errorCatalogue, PrimedError } from '../core/errors.ts';
import { type Finding, fail, ok, warn } from '../core/finding.ts';
import { formatSize } from '../core/sizes.ts';
import { alignDown, KiB, MiB } from '../core/units.ts';

/** Sockets of lanes and readers, files of stores and the index; below this a busy worker refuses connections. */
const leastOpenFiles = 4096;
/** Signatures of S3 are refused from 15 minutes on; certificates and leases suffer before. */
const clockWarnMs = 5_000;
const clockFailMs = 10 * 60_000;
const certificateWarnMs = 21 * 86_400_000;
const listWarnMs = 12 * 3_600_000;
/** Beside the budget: the programs, the index's hot pages, the kernel. */
const memoryBesideBytes = 512 * MiB;

/** @param openFiles undefined: no limit */
export function judgeOpenFiles(openFiles: number | undefined): Finding {
  const check = 'limit of open files';
  if (openFiles === undefined || openFiles >= leastOpenFiles)
    return ok(check, `${openFiles ?? 'unlimited'} here; a reader's connection takes one`);
  return warn(
    check,
    `${openFiles} here, a busy node needs ${leastOpenFiles}, and one more for each connection of a reader`,
    'the units of the package set LimitNOFILE; elsewhere raise it with ulimit -n',
  );
}

/** @param lockedBytes undefined: no limit */
export function judgeLockedMemory(lockedBytes: number | undefined, engine: string): Finding {
  const check = 'limit of locked memory';
  if (engine !== 'io_uring' || lockedBytes === undefined || lockedBytes >= 64 * KiB)
    return ok(check, lockedBytes === undefined ? 'unlimited here' : `${formatSize(lockedBytes)} here`);
  return warn(
    check,
    `${formatSize(lockedBytes)} here, too little for the rings of io_uring on older kernels`,
    'the units of the package set LimitMEMLOCK; elsewhere raise it with ulimit -l',
  );
}

export function judgeDiskEngine(
  wanted: 'auto' | 'io_uring' | 'threads',
  { engine, reason }: { readonly engine: 'io_uring' | 'threads'; readonly reason?: string },
): Finding {
  const check = 'disk engine';
  if (engine === 'io_uring')
    return ok(check, wanted === 'threads' ? 'threads, as configured; io_uring would work' : 'io_uring works here');
  const what = `io_uring does not work here (${reason ?? 'no reason is known'})`;
  if (wanted === 'threads') return ok(check, `threads, as configured; ${what}`);
  if (wanted === 'io_uring')
    return fail(check, what, 'allow it (sysctl kernel.io_uring_disabled, seccomp), or set worker.disk_engine = "auto"');
  return warn(
    check,
    `threads are used: ${what}`,
    'allow io_uring (sysctl kernel.io_uring_disabled, seccomp) for less CPU',
  );
}

/** @param aheadMs how far this node's clock is ahead of the other's */
export function judgeClock(of: string, aheadMs: number): Finding {
  const check = `clock against ${of}`;
  const seconds = Math.abs(Math.round(aheadMs / 1000));
  const what = `this node is ${seconds} s ${aheadMs > 0 ? 'ahead' : 'behind'}`;
  const remedy = 'run chrony or systemd-timesyncd on both, and look at timedatectl';
  if (Math.abs(aheadMs) >= clockFailMs) return fail(check, `${what}: signed requests are refused`, remedy);
  if (Math.abs(aheadMs) >= clockWarnMs) return warn(check, what, remedy);
  return ok(check, 'they agree');
}

export function judgeCertificate(setting: string, file: string, leftMs: number): Finding {
  const days = Math.floor(leftMs / 86_400_000);
  if (leftMs <= 0)
    return fail(setting, `${file} has expired`, 'put a new certificate in its place; it is read without a restart');
  if (leftMs < certificateWarnMs)
    return warn(
      setting,
      `${file} ends in ${days} days`,
      'put a new certificate in its place; it is read without a restart',
    );
  return ok(setting, `${file} is valid for ${days} more days`);
}

/** @param leftMs undefined: it names no end */
export function judgeRevocations(ca: string, revoked: number, leftMs: number | undefined): Finding {
  const [check, remedy] = ['tls.crl_file', 'put a new list of that CA in its place; it is read without a restart'];
  const words = `the list of ${ca} revokes ${revoked} certificates`;
  if (leftMs === undefined) return ok(check, `${words}, and says no time when it ends`);
  const hours = Math.floor(leftMs / 3_600_000);
  if (leftMs <= 0) return fail(check, `${words}, and has ended: every certificate of that CA is refused`, remedy);
  if (leftMs < listWarnMs) return warn(check, `${words}, and ends in ${hours} hours`, remedy);
  return ok(check, `${words}, for ${hours} more hours`);
}

export function judgeMemory(budgetBytes: number, readCacheBytes: number, totalBytes: number): Finding {
  const check = 'memory';
  const needed = budgetBytes + readCacheBytes + memoryBesideBytes;
  const words = `buffers ${formatSize(budgetBytes)} and read cache ${formatSize(readCacheBytes)} of ${formatSize(totalBytes)}`;
  if (needed <= totalBytes) return ok(check, words);
  return fail(check, `${words}: it does not fit`, 'lower worker.memory_budget or worker.read_cache');
}

/** @param node `20.19.0` */
export function judgeNode(node: string): Finding {
  const [major = 0, minor = 0] = node.split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return ok('Node', node);
  return fail('Node', `${node} is too old`, 'use Node 20.19 or newer; the Debian package brings its own');
}

/** @param peers the version of each worker that the coordinator knows, by its id */
export function judgeVersions(own: string, peers: ReadonlyMap<string, string>): Finding {
  const check = 'versions in the cluster';
  const others = [...peers].filter(([, version]) => version !== own);
  if (others.length === 0) return ok(check, `${own} on all of ${peers.size} workers that the coordinator knows`);
  const some = others.slice(0, 5).map(([id, version]) => `${id} has ${version}`);
  const more = others.length > some.length ? ` and ${others.length - some.length} others` : '';
  return warn(check, `here ${own}; ${some.join(', ')}${more}`, 'bring all nodes to one version');
}

export interface StoreFacts {
  readonly dir: string;
  readonly path: string;
  /** Of the configuration. */
  readonly wantedBytes: number;
  readonly fileBytes: number;
  /** What the disk has given to it. */
  readonly allocatedBytes: number;
  readonly headBytes: number;
  readonly direct: boolean;
}

export function judgeStore(facts: StoreFacts): Finding[] {
  const { dir, path, wantedBytes, fileBytes, allocatedBytes, headBytes, direct } = facts;
  const check = `store ${dir}`;
  const found: Finding[] = [];
  if (fileBytes !== headBytes)
    found.push(
      fail(
        check,
        `${path} has ${fileBytes} bytes, its head says ${headBytes}`,
        'it was cut or copied: remove the store and its index, and load again',
      ),
    );
  else if (alignDown(wantedBytes) !== headBytes)
    found.push(
      fail(
        check,
        `${path} was made with ${headBytes} bytes, the configuration says ${wantedBytes}`,
        'set the size that it has, or remove the store and its index',
      ),
    );
  else found.push(ok(check, `${path} has ${formatSize(fileBytes)}, and its head is whole`));
  if (allocatedBytes < fileBytes)
    found.push(
      fail(
        `${check}: room`,
        `the disk has given it only ${formatSize(allocatedBytes)} of ${formatSize(fileBytes)}`,
        'it was copied with holes: remove the store and its index, and load again',
      ),
    );
  else found.push(ok(`${check}: room`, 'the disk has given it all of its room'));
  found.push(
    direct
      ? ok(`${check}: O_DIRECT`, 'works, with transfers aligned to 4096 bytes')
      : warn(
          `${check}: O_DIRECT`,
          'the file system does not have it: data lies in memory twice',
          'put the store on ext4 or XFS',
        ),
  );
  return found;
}

/** What an origin answered when a key was listed. */
export function judgeOrigin(origin: string, error: unknown): Finding {
  const check = `origin ${origin}`;
  if (error === undefined) return ok(check, 'answers, and lets us list');
  const text = error instanceof Error ? error.message : String(error);
  const deep = `${text} ${causesOf(error)}`;
  if (/certificate|self.signed|CERT_|issuer|TLS|SSL|EPROTO/i.test(deep))
    return fail(
      check,
      `TLS: ${text}`,
      "set ca_file of its [[ufs]] entry to the CA's certificate, or check that endpoint is https where it should be",
    );
  if (/ENOTFOUND|EAI_AGAIN/.test(deep))
    return fail(
      check,
      `DNS: ${text}`,
      'check endpoint and region of its [[ufs]] entry, and the name servers of this node',
    );
  if (/region|AuthorizationHeaderMalformed|PermanentRedirect/i.test(deep))
    return fail(check, `region: ${text}`, 'set region of its [[ufs]] entry to the one that the bucket lies in');
  if (!(error instanceof PrimedError)) return fail(check, text, 'look at the log of the daemon');
  if (error.code === 'ORIGIN_DENIED' || error.code === 'ORIGIN_CREDENTIALS')
    return fail(
      check,
      `credentials: ${text}`,
      'check keys or profile of its [[ufs]] entry, the AWS environment of the daemon, and the rights to list',
    );
  return fail(check, text, errorCatalogue[error.code].help);
}

/** Names and words of what lies below an error. */
function causesOf(error: unknown): string {
  const words: string[] = [];
  for (let at = error, depth = 0; at instanceof Error && depth < 6; at = at.cause, depth++) {
    const { name, message } = at;
    const code = (at as { code?: unknown }).code;
    words.push(name, message, typeof code === 'string' ? code : '');
    if (at instanceof AggregateError) words.push(...at.errors.map(String));
  }
  return words.join(' ');
}

/** Jobs and the index grow there, and a full disk ends both. */
export function judgeRoom(dir: string, freeBytes: number, totalBytes: number): Finding {
  const check = 'room for jobs and index';
  const words = `the disk of ${dir} has ${formatSize(freeBytes)} free`;
  if (freeBytes >= 256 * MiB || freeBytes >= totalBytes / 10) return ok(check, words);
  return warn(check, words, 'free some, or set data_dir to another disk');
}

export interface PortFacts {
  readonly setting: string;
  readonly address: string;
  readonly inUse: boolean;
  /** Why it cannot be listened on, where it is not that it is in use. */
  readonly problem?: string;
  readonly daemonRuns: boolean;
}

export function judgePort({ setting, address, inUse, problem, daemonRuns }: PortFacts): Finding {
  if (problem !== undefined)
    return fail(setting, `${address}: ${problem}`, 'set an address that this machine has and its user may use');
  if (inUse && daemonRuns) return ok(setting, `${address} is in use by the daemon, which runs`);
  if (daemonRuns)
    return fail(
      setting,
      `the daemon runs, and nobody listens on ${address}`,
      'restart it: it has another configuration than this one',
    );
  if (!inUse) return ok(setting, `${address} is free`);
  const port = address.slice(address.lastIndexOf(':'));
  return fail(
    setting,
    `${address} is in use, and not by this daemon`,
    `\`ss -ltnp sport = ${port}\` names who has it; end that, or set another port`,
  );
}
