/** What a load would do, in a few lines. */
import type { LoadPlan } from '../core/load-plan.ts';
import { countText, sizeText, spanText } from './format.ts';

export function planLines(plan: LoadPlan): string[] {
  const { listing, cached, load, requests, price, workers, fits, time, refused, runningJobId, notes } = plan;
  const files = (count: number): string => `${countText(count)} ${count === 1 ? 'file' : 'files'}`;
  const evicted = workers.reduce((sum, worker) => sum + worker.evicted.bytes, 0);
  const full = workers.filter((worker) => !worker.fits).map(({ id }) => id);
  const lines = [
    runningJobId !== undefined && 'A load of this path is under way: a submission begins none.',
    `${files(listing.files)}, ${sizeText(listing.bytes)}; ${cached.files === 0 ? 'none of it' : sizeText(cached.bytes)} is cached.`,
    `It fetches ${files(load.files)}, ${sizeText(load.bytes)}, in ${countText(requests.total)} requests to the origin${price === undefined ? '' : `, for ${price.total.toFixed(2)} ${price.currency}`}.`,
    fits
      ? evicted > 0 && `${sizeText(evicted)} would be evicted for it.`
      : `It does not fit${full.length === 0 ? '' : ` on ${full.slice(0, 5).join(', ')}`}.`,
    refused.files > 0 && `${files(refused.files)} cannot be loaded: it would fail.`,
    time !== undefined && `It takes ${spanText(time.leastMs)} to ${spanText(time.mostMs)}, as loads of late.`,
    ...notes,
  ];
  return lines.filter((line) => line !== false);
}
