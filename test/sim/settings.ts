/** What all nodes of a world are set to. */
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MiB } from '../../src/core/units.ts';

export const leaseMs = 6_000;
export const segmentBytes = 4 * MiB;
/** Real, but nothing is in it: databases are in memory. */
export const folder = join(tmpdir(), 'primed-simulated');
export const jobsRoot = '/primed/jobs/';
export const etcdMembers = { prefix: '/primed/workers/', cluster: 'sim', leaseMs };
