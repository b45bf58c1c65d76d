/**
 * A real S3 server as the origin of a benchmark: radosgw on loopback with its data in memory (about three times the
 * dataset). The bucket is readable without a signature, so that the C receiver can fetch the same objects.
 */
import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CreateBucketCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import type { OriginSettings } from '../support/daemon.ts';
import type { Dataset } from '../support/dataset.ts';
import { freePort, hasProgram, plainEnvironment } from '../support/process.ts';
import { projectRoot, type Workspace } from '../support/workspace.ts';

export interface RadosgwOrigin {
  readonly settings: OriginSettings;
  readonly port: number;
}

const keys = { accessKeyId: 'BENCHACCESSKEY000000', secretAccessKey: 'benchsecretbenchsecretbenchsecretbenchse' };
const programs = ['ceph-mon', 'ceph-osd', 'radosgw', 'radosgw-admin', 'ceph', 'monmaptool', 'curl'];

/** Starts it (about 15 s) and puts the datasets into it; undefined where a program is missing. */
export async function startRadosgw(
  workspace: Workspace,
  datasets: readonly Dataset[],
): Promise<RadosgwOrigin | undefined> {
  if (!programs.every(hasProgram)) return undefined;
  const dir = workspace.folder('radosgw');
  const script = join(projectRoot, 'bench', 'origins', 'radosgw.sh');
  const port = await freePort();
  const env = plainEnvironment({
    PRIMED_BENCH_ACCESS_KEY: keys.accessKeyId,
    PRIMED_BENCH_SECRET_KEY: keys.secretAccessKey,
  });
  workspace.defer(() => void execFileSync('bash', [script, 'stop', dir], { env, stdio: 'ignore', timeout: 120_000 }));
  // Its daemons go to the background and keep what they inherit: their output must not be a pipe that is waited for.
  execFileSync('bash', [script, 'start', dir, String(port), String(await freePort())], {
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
    timeout: 180_000,
  });
  const settings = { endpoint: `http://127.0.0.1:${port}`, ...keys };
  await upload(settings, datasets);
  return { settings, port };
}

async function upload(settings: OriginSettings, datasets: readonly Dataset[]): Promise<void> {
  const client = new S3Client({
    endpoint: settings.endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: keys,
    // A checksum in a trailer makes the body chunked, and this radosgw asks for its length.
    requestChecksumCalculation: 'WHEN_REQUIRED',
  });
  for (const { root, bucket, objects } of datasets) {
    await client.send(new CreateBucketCommand({ Bucket: bucket }));
    const waiting = [...objects];
    const putNext = async (): Promise<void> => {
      for (let object = waiting.pop(); object !== undefined; object = waiting.pop()) {
        const Body = await readFile(join(root, bucket, object.key));
        await client.send(new PutObjectCommand({ Bucket: bucket, Key: object.key, Body, ACL: 'public-read' }));
      }
    };
    await Promise.all(Array.from({ length: 4 }, putNext));
  }
  client.destroy();
}
