/** What the console says of a load that does not move. */
import { expect, test } from 'vitest';
import { ConsoleState } from '../../../src/console/state.ts';
import type { ConsoleJob } from '../../../src/core/console-feed.ts';

const load: ConsoleJob = {
  ...{ id: 'j', type: 'LOAD', state: 'RUNNING', path: 's3://b/', kind: 'path', submittedAtMs: 0 },
  ...{ doneFiles: 0, doneBytes: 0, failures: 0, bytesPerSecond: 0 },
};

test('while it is being listed nothing is missed from the origin; once it loads, something is', () => {
  const state = new ConsoleState();
  const stillText = (more: Partial<ConsoleJob>): string | undefined => {
    const job = { ...load, ...more };
    state.take({ whole: true, atMs: 0, jobs: { put: [job], gone: [] } });
    for (let second = 0; second <= 30; second += 1) state.sample(second * 1000);
    return state.stillText(job, 30_000);
  };
  expect(stillText({ scannedFiles: 3000 })).toMatch(/^its path is still being listed, 3.000 keys so far$/);
  expect(stillText({ scannedFiles: 3000, doneFiles: 2 })).toMatch(/keys so far, nothing has come from the origin/);
  expect(stillText({ files: 3000 })).toMatch(/^nothing has come from the origin for /);
});
