/** `primed worker list` */
import type { WorkerInfo } from '../client/types.ts';
import { addressOf } from '../core/membership.ts';
import { formatSize } from '../core/sizes.ts';
import { printable } from '../core/text.ts';
import type { RegisterVerb } from './context.ts';
import { formatTable } from './table.ts';
import { addAsking } from './verb.ts';

const columns = ['ID', 'STATE', 'ADDRESS', 'ZONE', 'CAPACITY', 'FREE', 'FILES', 'EPOCH', 'LAST SEEN', 'VERSION'];

export const registerWorkerList: RegisterVerb = (worker, context) => {
  addAsking(worker, context, {
    name: 'list',
    description: 'list the workers that the coordinator knows',
    examples: ['primed worker list', 'primed worker list --format json'],
    ask: (client) => client.workers(),
    text: (workers) => formatTable(columns, workers.map(cellsOf)) + workers.map(reasonOf).join(''),
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
