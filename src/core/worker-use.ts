/**
 * What a worker says of itself beside its registration, for people who watch: what of its store is for whom, and its rates.
 * A node that does not know it goes without (core/protocol): over HTTP it is a header, in etcd a field of the figures.
 */

export interface WorkerUse {
  /** Promised to running loads, and not used yet. */
  readonly reservedBytes: number;
  /** Of what is used: never evicted; counted on by running loads. */
  readonly pinnedBytes: number;
  readonly heldBytes: number;
  /** Of late: from origins and other workers; to clients of the S3 port. */
  readonly receivedBytesPerSecond: number;
  readonly servedBytesPerSecond: number;
  /** Requests to origins that failed of late, all causes together, and those that were told to slow down. */
  readonly originFailuresPerMinute: number;
  readonly originThrottledPerMinute: number;
}

export const useHeader = 'x-primed-use';
const names = [
  'reservedBytes',
  'pinnedBytes',
  'heldBytes',
  'receivedBytesPerSecond',
  'servedBytesPerSecond',
  'originFailuresPerMinute',
  'originThrottledPerMinute',
] as const satisfies (keyof WorkerUse)[];

/** Figures in the order above; a newer worker may say more behind them. */
export function useText(use: WorkerUse): string {
  return names.map((name) => Math.max(0, Math.round(use[name]))).join(' ');
}

/** Undefined for what no worker would have said. */
export function parseUse(text: string): WorkerUse | undefined {
  const figures = text.slice(0, 500).split(' ').slice(0, names.length);
  if (figures.length < names.length || !figures.every((figure) => /^\d{1,16}$/.test(figure))) return undefined;
  const use = Object.fromEntries(names.map((name, index) => [name, Number(figures[index])]));
  return Object.values(use).every(Number.isSafeInteger) ? (use as unknown as WorkerUse) : undefined;
}
