/** The account of a run over workers that are lost, asked once more while they are gone, and back again. */
import { expect, it } from 'vitest';
import { emptyProgress, FleetRun } from '../../../src/cluster/fleet-run.ts';
import type { Member } from '../../../src/cluster/members.ts';
import type { WorkerId, WorkerLink } from '../../../src/cluster/worker-link.ts';
import { PrimedError } from '../../../src/core/errors.ts';
import { emptyLedger } from '../../../src/core/types.ts';
import type { RunProgress, RunSpec } from '../../../src/ingest/types.ts';

const id = 'w1' as WorkerId;

function heardOf(bytes: number): RunProgress {
  const ledger = { ...emptyLedger(), originBytes: bytes, cachedBytes: bytes };
  return { ...emptyProgress(), receivedBytes: bytes, durableBytes: bytes, ledger };
}

/** A connection to the worker, over which it has said so much. */
function memberOf(bytes: number, startRun: () => Promise<void> = async () => undefined): Member {
  const link = { startRun, progress: () => heardOf(bytes) } as unknown as WorkerLink;
  return { id, url: '', takes: true, link };
}

const gone = () => Promise.reject(new PrimedError('WORKER_LOST', 'it is gone'));

async function lost(): Promise<FleetRun> {
  const run = new FleetRun({} as RunSpec, 1);
  await run.enter(memberOf(100));
  run.membersChanged([]);
  return run;
}

it('what a lost worker had is in the account, as lost', async () => {
  const { ledger, durableBytes } = (await lost()).progress();
  expect(ledger).toMatchObject({ originBytes: 100, cachedBytes: 0, discardedBytes: { lost: 100 } });
  expect(durableBytes).toBe(0);
});

it('it stays there while the worker is asked again in vain', async () => {
  const run = await lost();
  const before = run.progress();
  const asked = run.enter(memberOf(0, gone));
  expect(run.progress()).toEqual(before);
  await expect(asked).rejects.toThrow('it is gone');
  expect(run.progress()).toEqual(before);
});

it('one that came back goes on with its own account, and nothing counts twice', async () => {
  const run = await lost();
  await run.enter(memberOf(140));
  expect(run.progress().ledger).toMatchObject({ originBytes: 140, cachedBytes: 140, discardedBytes: { lost: 0 } });
});
