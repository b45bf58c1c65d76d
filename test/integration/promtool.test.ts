import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { call, loaded } from '../support/api.ts';
import { smallDataset } from '../support/origin.ts';
import { openScene } from '../support/scene.ts';

function checkMetrics(text: string): { status: number | null; output: string } {
  const { status, stdout, stderr, error } = spawnSync('promtool', ['check', 'metrics'], {
    input: text,
    timeout: 60_000,
  });
  if (error !== undefined) throw error;
  return { status, output: `${stdout}${stderr}` };
}

test('promtool finds nothing to say about a daemon that has worked', async () => {
  const scene = await openScene();
  try {
    await loaded(scene.daemon.api, 's3://demo/data/', { verify: 'true' });
    await scene.readBack(smallDataset);
    for (const port of [scene.daemon.ports.api, scene.daemon.ports.http]) {
      const { status, text } = await call(`http://127.0.0.1:${port}`, 'GET', '/metrics');
      expect(status).toBe(200);
      expect(text).toMatch(/^primed_\w+_total\S* [1-9]/m);
      expect(checkMetrics(text)).toEqual({ status: 0, output: '' });
    }
  } finally {
    await scene.close();
  }
});

test('promtool would find a badly named metric', () => {
  const checked = checkMetrics('# HELP primed_x_total Things.\n# TYPE primed_x_total gauge\nprimed_x_total 1\n');
  expect(checked.status).not.toBe(0);
  expect(checked.output).toContain('_total');
});
