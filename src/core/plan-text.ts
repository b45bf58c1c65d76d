/** A plan as people read it. Pure. */
import type { LoadPlan, PlannedWorker } from './load-plan.ts';
import type { Price } from './price.ts';
import { formatSize, formatTimeLeft } from './sizes.ts';
import { printable } from './text.ts';

/** Files that are named, of each kind; JSON has up to 100. */
const named = 5;

export function planText(plan: LoadPlan): string {
  const { path, indexFile, listing, refused, cached, load, requests, price, time } = plan;
  const lines = [
    `Plan of loading '${printable(path ?? indexFile ?? '')}' (nothing was loaded):`,
    ...(plan.runningJobId === undefined ? [] : [`\tRunning: job ${plan.runningJobId}; a submission begins no other`]),
    ...(plan.resumed ? ['\tResumes: a load that was stopped'] : []),
    `\tFiles: ${listing.files} (${formatSize(listing.bytes)}), listed in ${formatTimeLeft(listing.elapsedMs)}`,
    `\tAlready cached: ${cached.files} files (${formatSize(cached.bytes)})`,
    `\tTo load: ${load.files} files (${formatSize(load.bytes)})`,
    `\tFrom the origin: ${formatSize(plan.originBytes)} in ${requests.total} requests (${requests.list} lists, ${requests.head} HEADs, ${requests.rangedGet} ranged GETs, ${requests.wholeGet} whole GETs)`,
    `\tBetween workers: ${formatSize(plan.copiedBytes)} in ${requests.copies} copies`,
    ...(price === undefined ? [] : [`\tPrice: ${priceText(price)}`]),
    `\tTime: ${time === undefined ? 'not known' : timeText(time)}`,
    `\tFits: ${plan.fits ? 'yes' : 'no'}`,
    ...plan.workers.flatMap(workerLines),
  ];
  if (refused.files > 0) {
    lines.push(`\tRefused: ${refused.files} files`);
    for (const { path: of, code } of refused.named.slice(0, named)) lines.push(`\t\t${printable(of)}: ${code}`);
    lines.push(...more(refused.files, refused.named.length));
  }
  for (const note of plan.notes) lines.push(`\tNote: ${note}`);
  return `${lines.join('\n')}\n`;
}

function workerLines({ id, bytes, roomBytes, freeBytes, capacityBytes, fits, evicted }: PlannedWorker): string[] {
  const room = `needs ${formatSize(roomBytes)}, free ${formatSize(freeBytes)} of ${formatSize(capacityBytes)}`;
  const lines = [`\tWorker ${id}: ${formatSize(bytes)} (${room})${fits ? '' : ' DOES NOT FIT'}`];
  if (evicted.files === 0) return lines;
  const about = evicted.counted ? '' : 'about ';
  lines.push(`\t\tEvicts ${about}${evicted.files} files (${formatSize(evicted.bytes)})`);
  for (const path of evicted.paths.slice(0, named)) lines.push(`\t\t${printable(path)}`);
  return [...lines, ...more(evicted.files, evicted.paths.length)];
}

function more(files: number, paths: number): string[] {
  const left = files - Math.min(paths, named);
  return left > 0 ? [`\t\t... and ${left} more`] : [];
}

function timeText({ leastMs, mostMs, measuredLoads }: NonNullable<LoadPlan['time']>): string {
  if (measuredLoads === 0) return 'none';
  const range = `${formatTimeLeft(leastMs)} to ${formatTimeLeft(mostMs)}`;
  return `${range}, by ${measuredLoads === 1 ? 'the last load' : `the last ${measuredLoads} loads`} of its kind`;
}

function priceText({ currency, total, list, head, get, transfer }: Price): string {
  const parts = { lists: list, HEADs: head, GETs: get, transfer };
  const some = Object.entries(parts).map(([name, amount]) => `${name} ${amountText(amount)}`);
  return `${amountText(total)} ${currency} (${some.join(', ')})`;
}

/** Of small amounts the first figures that say something. */
function amountText(amount: number): string {
  if (amount === 0 || amount >= 1) return amount.toFixed(2);
  return amount >= 0.0001 ? amount.toFixed(4) : amount.toPrecision(2);
}
