/** Programs that people use for the same work: curl for TLS, rclone for many small objects. Left out where missing. */
import { MiB } from '../../src/core/units.ts';
import type { Dataset } from '../support/dataset.ts';
import { hasProgram, runTimed } from '../support/process.ts';
import type { Transfer } from './receiver.ts';

/** Fetches every object to /dev/null, one after the other on one connection, and trusts only the given certificate. */
export function runCurl(order: { endpoint: string; certificatePath: string; dataset: Dataset }): Transfer | undefined {
  if (!hasProgram('curl')) return undefined;
  const targets = order.dataset.objects.flatMap(({ key }) => [
    '-o',
    '/dev/null',
    `${order.endpoint}/${order.dataset.bucket}/${key}`,
  ]);
  const spent = runTimed(['curl', '-sS', '--fail', '--http1.1', '--cacert', order.certificatePath, ...targets]);
  return { bytes: order.dataset.totalBytes, seconds: spent.seconds, cpuSeconds: spent.cpuSeconds };
}

/** Copies a bucket into a folder through the page cache, 64 transfers at a time. */
export function runRclone(order: { endpoint: string; dataset: Dataset; target: string }): Transfer | undefined {
  if (!hasProgram('rclone')) return undefined;
  const remote = `:s3,provider=Other,env_auth=false,access_key_id=bench,secret_access_key=bench,endpoint="${order.endpoint}":${order.dataset.bucket}`;
  // One flat ListObjectsV2, which is all that the nginx origin answers.
  const listing = ['--s3-list-version', '2', '--fast-list', '--s3-no-check-bucket'];
  const parallel = ['--transfers', '64', '--checkers', '64', '--buffer-size', `${MiB}B`];
  const spent = runTimed(['rclone', 'copy', remote, order.target, '--config', '/dev/null', ...listing, ...parallel]);
  return { bytes: order.dataset.totalBytes, seconds: spent.seconds, cpuSeconds: spent.cpuSeconds };
}
