/**
 * What is counted on the S3 port: by each serving thread in its row, and by the main thread in the last one, for what the
 * threads have passed on to it. The names are the columns of the shared block (shared-counters.ts).
 */
import { requestSeconds, statusClasses } from './metric-row.ts';
import { type Column, type HistogramSlot, type SharedCounters, sharedLayout } from './shared-counters.ts';

export const s3Operations = ['get', 'head', 'list', 'other'] as const;
export type ServedOperation = (typeof s3Operations)[number];
type StatusClass = (typeof statusClasses)[number];

const answerColumn = <O extends ServedOperation, C extends StatusClass>(operation: O, code: C) =>
  `${operation}:${code}` as const;
const secondsSlot = <O extends ServedOperation>(operation: O) => `seconds:${operation}` as const;
const answers = s3Operations.flatMap((operation) => statusClasses.map((code) => answerColumn(operation, code)));
const seconds = Object.fromEntries(
  s3Operations.map((operation) => [secondsSlot(operation), requestSeconds]),
) as unknown as Record<`seconds:${ServedOperation}`, readonly number[]>;
/** From a page in memory to a disk that is busy. */
export const firstByteSeconds = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5,
] as const;

export const servingLayout = sharedLayout(
  [
    ...answers,
    'servedBytes',
    /** Read from stores for it. */
    'readBytes',
    /** Passed on to the main thread. */
    'passedOn',
    'heartbeats',
    'connections',
    'bodies',
    /** Bodies that were cut off, because their file was removed long ago. */
    'cutBodies',
  ],
  { ...seconds, firstByteSeconds, passedFirstByteSeconds: firstByteSeconds },
);

export const servingColumns = servingLayout.columns;
export const firstByteSlot = servingLayout.histograms.firstByteSeconds;
/** Of what was passed on to the main thread. */
export const passedFirstByteSlot = servingLayout.histograms.passedFirstByteSeconds;

export type ServingCounters = SharedCounters<keyof typeof servingColumns, keyof typeof servingLayout.histograms>;

export function answerColumnOf(operation: ServedOperation, code: StatusClass): Column {
  return servingColumns[answerColumn(operation, code)];
}

export function secondsSlotOf(operation: ServedOperation): HistogramSlot {
  return servingLayout.histograms[secondsSlot(operation)];
}
