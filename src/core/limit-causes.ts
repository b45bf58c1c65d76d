/**
 * What can limit a load. Every moment of a load is charged to one state; people and programs are told causes, which are
 * several states together, and the largest of these as a detail. core/limit-account.ts says when which of them is charged.
 */

interface CauseText {
  /** For people, where no detail is known. */
  readonly text: string;
  /** What stands before the detail in place of it. */
  readonly before: string;
}

/** Names as they are in JSON and in metrics, with a text for people. */
export const limitCauses = {
  'origin-first-byte': { text: 'origin first byte', before: 'origin first byte, ' },
  'origin-transfer': { text: 'origin transfer', before: 'origin transfer, ' },
  'origin-throttling': { text: 'origin throttling', before: 'origin ' },
  network: { text: 'network', before: 'network, ' },
  cpu: { text: 'CPU', before: 'CPU of ' },
  checksum: { text: 'checksums', before: 'checksums, ' },
  disk: { text: 'disk', before: 'disk ' },
  index: { text: 'index', before: 'index ' },
  scheduler: { text: 'scheduler', before: 'scheduler, ' },
  'operator-limit': { text: "operator's limit", before: "operator's limit, " },
} as const satisfies Record<string, CauseText>;

export type LimitCause = keyof typeof limitCauses;
export const limitCauseNames = Object.keys(limitCauses) as readonly LimitCause[];

/** What a slot of a lane, a part, or a run as a whole is found waiting for. */
export const limitStates = {
  'first-byte': { cause: 'origin-first-byte' },
  transfer: { cause: 'origin-transfer' },
  /** An attempt failed for another reason than throttling, and the next one waits for its time. */
  retry: { cause: 'origin-transfer', detail: 'failed requests' },
  throttled: { cause: 'origin-throttling' },
  'throttled-503': { cause: 'origin-throttling', detail: '503 SlowDown' },
  'throttled-429': { cause: 'origin-throttling', detail: '429 TooManyRequests' },
  connecting: { cause: 'network', detail: 'connecting' },
  copying: { cause: 'network', detail: 'copying from another worker' },
  'lane-cpu': { cause: 'cpu', detail: 'lanes' },
  'main-cpu': { cause: 'cpu', detail: 'the main thread' },
  checksum: { cause: 'checksum' },
  'disk-write': { cause: 'disk', detail: 'writes' },
  'disk-read': { cause: 'disk', detail: 'reads' },
  'disk-flush': { cause: 'disk', detail: 'flushes' },
  commit: { cause: 'index', detail: 'commits' },
  lookup: { cause: 'index', detail: 'entries of files' },
  listing: { cause: 'scheduler', detail: 'listing' },
  work: { cause: 'scheduler', detail: 'waiting for work' },
  slots: { cause: 'scheduler', detail: 'others have all slots' },
  bandwidth: { cause: 'operator-limit', detail: 'bandwidth' },
  requests: { cause: 'operator-limit', detail: 'requests per second' },
  readers: { cause: 'operator-limit', detail: 'readers come first' },
} as const satisfies Record<string, { readonly cause: LimitCause; readonly detail?: string }>;

export type LimitState = keyof typeof limitStates;

/** By state: milliseconds, or weights. What is absent is 0. */
export type LimitSums = Readonly<Partial<Record<LimitState, number>>>;

/** One line of the answer to "what limits it?". */
export interface Limit {
  readonly cause: LimitCause;
  /** Above 0, at most 1. */
  readonly share: number;
  readonly detail?: string;
}

/** Smaller shares say nothing. */
const leastShare = 0.005;

/** Largest first; undefined: nothing is known. Sums of states that this version does not know are left out. */
export function limitsOf(sums: LimitSums): Limit[] | undefined {
  const known = (Object.keys(limitStates) as LimitState[]).filter((state) => (sums[state] ?? 0) > 0);
  const total = known.reduce((sum, state) => sum + sums[state]!, 0);
  if (total <= 0) return undefined;
  const byCause = new Map<LimitCause, { sum: number; most: number; detail: string | undefined }>();
  for (const state of known) {
    const { cause, detail }: { cause: LimitCause; detail?: string } = limitStates[state];
    const so = byCause.get(cause) ?? { sum: 0, most: 0, detail: undefined };
    so.sum += sums[state]!;
    if (sums[state]! > so.most) [so.most, so.detail] = [sums[state]!, detail];
    byCause.set(cause, so);
  }
  return Array.from(byCause, ([cause, { sum, detail }]) => ({
    cause,
    share: Math.round((sum / total) * 1000) / 1000,
    ...(detail === undefined ? {} : { detail }),
  }))
    .filter(({ share }) => share >= leastShare)
    .sort((a, b) => b.share - a.share);
}

/** `origin 503 SlowDown (62%)` */
export function limitText({ cause, share, detail }: Limit): string {
  const { text, before } = limitCauses[cause] ?? { text: cause, before: `${cause} ` };
  return `${detail === undefined ? text : `${before}${detail}`} (${Math.round(share * 100)}%)`;
}
