/** The machine: limits, memory, disks, the disk engine, versions, certificates. */
import { X509Certificate } from 'node:crypto';
import { readFileSync, statfsSync } from 'node:fs';
import type { Config } from '../config/config.ts';
import { memoryBytes, nearestExisting } from '../config/defaults.ts';
import { readClientCa, readRevocations, readTlsFiles } from '../config/tls-files.ts';
import { type Finding, ok } from '../core/finding.ts';
import { checksumKernels, probeDiskEngine } from '../platform/index.ts';
import {
  judgeCertificate,
  judgeDiskEngine,
  judgeLockedMemory,
  judgeMemory,
  judgeNode,
  judgeOpenFiles,
  judgeRevocations,
  judgeRoom,
} from './judge.ts';
import { worded } from './worded.ts';

export async function examineMachine(config: Config): Promise<Finding[]> {
  const { dataDir, role, worker, tls } = config;
  const found = [judgeNode(process.versions.node)];
  found.push(
    ...worded('addon', 'install the package for this machine, or run `npm run setup`', () => {
      const { crc32c } = checksumKernels();
      return [ok('addon', `loads; checksums by ${crc32c}`)];
    }),
  );
  const limits = limitsOf(readFileSync('/proc/self/limits', 'utf8'));
  found.push(judgeOpenFiles(limits('Max open files')));
  if (role !== 'coordinator') {
    const engine = await probeDiskEngine();
    found.push(judgeDiskEngine(worker.diskEngine, engine));
    found.push(judgeLockedMemory(limits('Max locked memory'), engine.engine));
    found.push(judgeMemory(worker.memoryBudgetBytes, worker.readCacheBytes, memoryBytes()));
  }
  const { bavail, blocks, bsize } = statfsSync(nearestExisting(dataDir));
  found.push(judgeRoom(dataDir, bavail * bsize, blocks * bsize));
  if (tls.own !== undefined) {
    const file = tls.own.certFile;
    found.push(
      ...worded('tls.cert_file', 'put a certificate in PEM there', () => {
        const { validTo } = new X509Certificate(readFileSync(file));
        return [judgeCertificate('tls.cert_file', file, Date.parse(validTo) - Date.now())];
      }),
    );
  }
  if (tls.crlFile !== undefined) found.push(...examineRevocations(tls));
  return found;
}

/** What is wrong with the file itself is found with the configuration. */
function examineRevocations({ crlFile, caFile, clientCaFile }: Config['tls']): Finding[] {
  const { pem } = readTlsFiles({ caFile });
  const { revocations } = readRevocations(crlFile, [pem.ca, readClientCa(clientCaFile, undefined).pem]);
  return (revocations?.ends ?? []).map(({ ca, revoked, endsMs }) =>
    judgeRevocations(ca, revoked, endsMs === undefined ? undefined : endsMs - Date.now()),
  );
}

/** The soft limit of a row of /proc/self/limits; undefined: unlimited. */
export function limitsOf(text: string): (name: string) => number | undefined {
  return (name) => {
    const row = text.split('\n').find((line) => line.startsWith(name));
    const soft = row?.slice(name.length).trim().split(/\s+/)[0];
    return soft === undefined || soft === 'unlimited' ? undefined : Number(soft);
  };
}
