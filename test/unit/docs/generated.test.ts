import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { settings } from '../../../src/config/settings.ts';
import { errorCatalogue } from '../../../src/core/errors.ts';
import { metrics } from '../../../src/telemetry/metrics.ts';

const document = (name: string): string => readFileSync(new URL(`../../../docs/${name}`, import.meta.url), 'utf8');

test('the generated documents are what the sources say', () => {
  const script = new URL('../../../scripts/generate-docs.mjs', import.meta.url).pathname;
  const { status, stderr } = spawnSync(process.execPath, [script, '--check'], { encoding: 'utf8', timeout: 60_000 });
  expect(stderr).toBe('');
  expect(status).toBe(0);
});

test('every setting, metric and error code has its line', () => {
  for (const { path, env } of settings.values()) {
    expect(document('CONFIGURATION.md')).toContain(`| \`${path.slice(path.lastIndexOf('.') + 1)}\` |`);
    expect(document('CONFIGURATION.md')).toContain(`\`${env}\``);
  }
  for (const { name } of Object.values(metrics)) expect(document('METRICS.md')).toContain(`| \`${name}\` |`);
  for (const name of Object.keys(errorCatalogue)) expect(document('ERRORS.md')).toContain(`| \`${name}\` |`);
});
