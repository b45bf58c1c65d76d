/** The benchmarks by name, in the order in which `all` runs them. */
import type { Scenario } from '../support/scenario.ts';
import { cycles } from './cycles.ts';
import { load, tls } from './load.ts';
import { memory } from './memory.ts';
import { micro } from './micro.ts';
import { radosgw } from './radosgw.ts';
import { ring } from './ring.ts';
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
  ring,
  micro,
};
