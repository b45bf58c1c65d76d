/** What a worker measures. */
import { ingestMetrics } from './ingest-metrics.ts';
import { servingMetrics } from './serving-metrics.ts';
import { storeMetrics } from './store-metrics.ts';

export const workerMetrics = { ...ingestMetrics, ...storeMetrics, ...servingMetrics };
