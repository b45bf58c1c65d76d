/** The benchmarks by name, in the order in which `all` runs them. */
import type { Scenario } from '../support/scenario.ts';
import { consolePage } from './console.ts';
import { cycles } from './cycles.ts';
import { eta } from './eta.ts';
import { failover } from './failover.ts';
import { limits } from './limits.ts';
import { load, tls } from './load.ts';
import { manifest } from './manifest.ts';
import { memory } from './memory.ts';
import { micro } from './micro.ts';
import { plan } from './plan.ts';
import { radosgw } from './radosgw.ts';
import { readers } from './readers.ts';
import { replicas } from './replicas.ts';
import { ring } from './ring.ts';
import { scaling } from './scaling.ts';
import { scrape } from './scrape.ts';
import { serving } from './serving.ts';
import { sharing } from './sharing.ts';
import { small } from './small.ts';
import { start } from './start.ts';
import { stores } from './stores.ts';

export const scenarios: Readonly<Record<string, Scenario>> = {
  load,
  small,
  tls,
  radosgw,
  stores,
  cycles,
  memory,
  start,
  scrape,
  console: consolePage,
  ring,
  manifest,
  plan,
  eta,
  sharing,
  serving,
  readers,
  replicas,
  failover,
  limits,
  micro,
  // Refuses where there are no network namespaces.
  scaling,
};
