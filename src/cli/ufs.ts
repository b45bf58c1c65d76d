/** `primed ufs …`: limits of origins. */
import type { PrimedClient } from '../client/client.ts';
import type { UfsInfo } from '../client/types.ts';
import { limitedOrigin, rateOf } from '../core/origin-limits.ts';
import { formatSize } from '../core/sizes.ts';
import { printable } from '../core/text.ts';
import type { RegisterVerb } from './context.ts';
import { UsageError } from './exit.ts';
import { formatTable } from './table.ts';
import { addAsking, addGroup } from './verb.ts';

interface LimitFlags {
  readonly bandwidth?: string;
  readonly requests?: string;
  readonly reset?: boolean;
}

export const registerUfs: RegisterVerb = (program, context) => {
  const ufs = addGroup(program, {
    name: 'ufs',
    description: 'limits of origins, for all workers together',
    examples: ['primed ufs list', 'primed ufs limit s3://datasets --bandwidth 2GB'],
  });
  addAsking(ufs, context, {
    name: 'list',
    description: 'list the limits of origins',
    examples: ['primed ufs list', 'primed ufs list --format json'],
    ask: (client) => client.ufs(),
    text: (rows) => formatTable(columns, rows.map(cellsOf)),
  });
  addAsking<LimitFlags, UfsInfo>(ufs, context, {
    name: 'limit',
    description: 'limit what all workers together ask of an origin, from now on',
    operands: [
      ['<path>', 's3://bucket, s3:// for all buckets without a limit of their own, or file:///dir'],
      ['[none]', '`none` lifts both limits'],
    ],
    flags: [
      ['--bandwidth <size>', 'bytes a second, such as 2GB, or none'],
      ['--requests <count>', 'requests a second of all kinds, or none'],
      ['--reset', 'the limits of the configuration hold again'],
    ],
    examples: ['primed ufs limit s3://datasets --bandwidth 2GB --requests 3000', 'primed ufs limit s3://datasets none'],
    ask: setLimit,
    text: (row) => `Limits of ${row.origin}: bandwidth ${bandwidthOf(row)}, requests ${requestsOf(row)}.\n`,
  });
};

const columns = ['ORIGIN', 'BANDWIDTH', 'REQUESTS', 'SOURCE', 'IN USE BY'];

function cellsOf(row: UfsInfo): string[] {
  const users = row.shares.filter(
    ({ bytesPerSecond = 0, requestsPerSecond = 0 }) => bytesPerSecond + requestsPerSecond > 0,
  );
  const inUse = users.map((share) => `${share.taker} (${ratesOf(share)})`).join(', ');
  return [row.origin, bandwidthOf(row), requestsOf(row), row.source, inUse === '' ? '-' : inUse].map(printable);
}

type Rates = Pick<UfsInfo, 'bytesPerSecond' | 'requestsPerSecond'>;

function bandwidthOf({ bytesPerSecond }: Rates): string {
  return bytesPerSecond === undefined ? 'none' : `${formatSize(bytesPerSecond)}/s`;
}

function requestsOf({ requestsPerSecond }: Rates): string {
  return requestsPerSecond === undefined ? 'none' : `${Math.round(requestsPerSecond * 100) / 100}/s`;
}

function ratesOf(share: Rates): string {
  return [
    ...(share.bytesPerSecond === undefined ? [] : [bandwidthOf(share)]),
    ...(share.requestsPerSecond === undefined ? [] : [`${requestsOf(share)} requests`]),
  ].join(', ');
}

async function setLimit(
  client: PrimedClient,
  { bandwidth, requests, reset }: LimitFlags,
  path: string,
  none: string | undefined,
): Promise<UfsInfo> {
  if (none !== undefined && none.toLowerCase() !== 'none')
    throw new UsageError(`'${none}' is no limit: write none, or --bandwidth and --requests.`);
  const ways = [none !== undefined, reset === true, bandwidth !== undefined || requests !== undefined];
  if (ways.filter(Boolean).length !== 1)
    throw new UsageError('Give --bandwidth, --requests or both; or none, to lift both; or --reset.');
  // The coordinator would say the same; this saves it the trouble.
  limitedOrigin(path);
  if (bandwidth !== undefined) rateOf('bandwidth', bandwidth);
  if (requests !== undefined) rateOf('requests', requests);
  const change = none === undefined ? { bandwidth, requests, reset } : { bandwidth: 'none', requests: 'none' };
  return client.limitUfs(path, change);
}
