/** `primed top` on a cluster that loads: once, and on a real terminal that it gives back as it was. */
import { expect, onTestFinished, test } from 'vitest';
import { MiB } from '../../src/core/units.ts';
import { submit } from '../support/api.ts';
import { primed } from '../support/cli.ts';
import { openCluster } from '../support/cluster.ts';
import { executable } from '../support/daemon.ts';
import { type OnTerminal, onTerminal, type TerminalStep } from '../support/on-terminal.ts';

const path = 's3://demo/slow/';
const pictureStart = '\u001b[H';
const screenLeft = '\u001b[?7h\u001b[?25h\u001b[?1049l';

test('top shows what a cluster loads, once or on a terminal, which it gives back as it was', async () => {
  const objects = Array.from({ length: 4 }, (_, n) => ({ key: `slow/${n}`, sizeBytes: 40 * MiB }));
  const cluster = await openCluster({ origin: { objects }, workers: ['w1', 'w2'] });
  onTestFinished(() => cluster.close());
  const { api } = cluster.coordinator;
  // It is not done before the test is.
  cluster.origin.setKnobs({ bytesPerSecond: MiB / 4 });
  expect((await submit(api, path, { bandwidth: '100MB' })).status).toBe(200);
  await expect.poll(async () => (await primed(api, ['job', 'list'])).stdout).toContain('RUNNING');
  const top = (steps: readonly TerminalStep[], interval: string): Promise<OnTerminal> =>
    onTerminal([process.execPath, executable, 'top', '--interval', interval], {
      ...{ columns: 120, rows: 30, steps },
      env: { PRIMED_COORDINATOR: api, TERM: 'xterm' },
    });

  const said = await primed(api, ['top']);
  expect(said).toMatchObject({ code: 0, stderr: '' });
  expect(said.stdout).toMatch(/^RUNNING {2}LOAD .*s3:\/\/demo\/slow\/\n {2}limited to 100\.00MB\/s a worker$/m);
  for (const id of ['w1', 'w2']) expect(said.stdout).toMatch(new RegExp(`^LIVE +${id} .* of 511\\.00MB `, 'm'));
  const json = await primed(api, ['top', '--once', '--format', 'json']);
  expect(JSON.parse(json.stdout)).toMatchObject({
    jobs: [{ path, state: 'RUNNING' }],
    workers: [{ id: 'w1' }, { id: 'w2' }],
    rates: { stepMs: 10_000, loading: { values: expect.arrayContaining([expect.any(Number)]) } },
  });

  // With this interval nothing but the new size draws.
  const resized = await top([{ until: 'RUNNING' }, { resize: [50, 8] }, { until: pictureStart }, { send: 'q' }], '1h');
  expect(resized).toMatchObject({ missed: null, code: 0, modesRestored: true });
  expect(resized.output.startsWith('\u001b[?1049h')).toBe(true);
  expect(resized.output.endsWith(screenLeft)).toBe(true);
  const small = resized.output.split(pictureStart).at(-1)!.split('\r\n');
  expect(small.length).toBeLessThanOrEqual(8);
  expect(small.join('\n')).toContain('RUNNING');

  const again = await top(
    [{ until: 'RUNNING' }, { until: pictureStart }, { until: 'RUNNING' }, { signal: 15 }],
    '300ms',
  );
  expect(again).toMatchObject({ missed: null, code: 143, modesRestored: true });
  expect(again.output.endsWith(screenLeft)).toBe(true);
});
