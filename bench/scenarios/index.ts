/** The benchmarks by name, in the order in which `all` runs them. */
import type { Scenario } from '../support/scenario.ts';
import { load, tls } from './load.ts';
import { small } from './small.ts';

export const scenarios: Readonly<Record<string, Scenario>> = { load, tls, small };
