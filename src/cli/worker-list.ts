/** `primed worker list` */
import type { WorkerInfo } from '../client/types.ts';
import { addressOf } from '../core/membership.ts';
import { formatSize } from '../core/sizes.ts';
import {
  type ClientOptions,
  coordinatorOption,
  type Format,
  formatOption,
  printJson,
  type RegisterVerb,
  runs,
  withClient,
} from './context.ts';
import { exitCodes } from './exit.ts';
import { printable } from './printable.ts';
import { formatTable } from './table.ts';

interface ListFlags extends ClientOptions {
  readonly format?: Format;
}

const columns = ['ID', 'STATE', 'ADDRESS', 'ZONE', 'CAPACITY', 'FREE', 'FILES', 'EPOCH', 'LAST SEEN', 'VERSION'];

export const registerWorkerList: RegisterVerb = (worker, context) => {
  const command = worker
    .command('list')
    .description('list the workers that the coordinator knows')
    .addOption(formatOption());
  coordinatorOption(command);
  runs(command, context, async (flags: ListFlags) => {
    const workers = await withClient(context, flags, (client) => client.workers());
    if (flags.format === 'JSON') printJson(context.io, workers);
    else context.io.stdout.write(formatTable(columns, workers.map(cellsOf)) + workers.map(reasonOf).join(''));
    return exitCodes.done;
  });
};

function cellsOf(worker: WorkerInfo): string[] {
  const { id, state, drains, zone, capacityBytes, freeBytes, files, epoch, lastSeenAt, version } = worker;
  return [
    id,
    (state === 'LOST' || state === 'REFUSED') && drains ? `${state}, DRAINS` : state,
    addressOf(worker),
    zone ?? '-',
    formatSize(capacityBytes),
    formatSize(freeBytes),
    String(files),
    String(epoch),
    lastSeenAt,
    version,
  ].map(printable);
}

/** A line below the table: why a worker gets no segments. */
function reasonOf({ id, reason }: WorkerInfo): string {
  return reason === undefined ? '' : `${printable(`${id}: ${reason}`)}\n`;
}
