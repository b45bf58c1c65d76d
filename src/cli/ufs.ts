/** `primed ufs …`: limits of origins. */
import type { PrimedClient } from '../client/client.ts';
import type { UfsInfo } from '../client/types.ts';
import { limitedOrigin, rateOf } from '../core/origin-limits.ts';
import { formatSize } from '../core/sizes.ts';
import {
  type CliContext,
  type ClientOptions,
  coordinatorOption,
  type Format,
  formatOption,
  printJson,
  type RegisterVerb,
  runs,
  withClient,
} from './context.ts';
import { exitCodes, UsageError } from './exit.ts';
import { printable } from './printable.ts';
import { formatTable } from './table.ts';

interface LimitFlags extends ClientOptions {
  readonly bandwidth?: string;
  readonly requests?: string;
  readonly reset?: boolean;
}

export const registerUfs: RegisterVerb = (program, context) => {
  const ufs = program.command('ufs').description('limits of origins, for all workers together');
  const list = ufs.command('list').description('list the limits of origins').addOption(formatOption());
  coordinatorOption(list);
  runs(list, context, async (flags: ClientOptions & { readonly format?: Format }) => {
    const rows = await withClient(context, flags, (client) => client.ufs());
    if (flags.format === 'JSON') printJson(context.io, rows);
    else context.io.stdout.write(formatTable(columns, rows.map(cellsOf)));
    return exitCodes.done;
  });

  const limit = ufs
    .command('limit')
    .description('limit what all workers together ask of an origin, from now on')
    .argument('<path>', 's3://bucket, s3:// for all buckets without a limit of their own, or file:///dir')
    .argument('[none]', '`none` lifts both limits')
    .option('--bandwidth <size>', 'bytes a second, such as 2GB, or none')
    .option('--requests <count>', 'requests a second of all kinds, or none')
    .option('--reset', 'the limits of the configuration hold again');
  coordinatorOption(limit);
  runs(limit, context, (path: string, none: string | undefined, flags: LimitFlags) =>
    setLimit(context, path, none, flags),
  );
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
  context: CliContext,
  path: string,
  none: string | undefined,
  { bandwidth, requests, reset, ...flags }: LimitFlags,
): Promise<number> {
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
  const row = await withClient(context, flags, (client: PrimedClient) => client.limitUfs(path, change));
  const limits = `bandwidth ${bandwidthOf(row)}, requests ${requestsOf(row)}`;
  context.io.stdout.write(`Limits of ${row.origin}: ${limits}.\n`);
  return exitCodes.done;
}
