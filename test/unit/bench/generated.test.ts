import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

const project = join(import.meta.dirname, '..', '..', '..');
const result = {
  name: 'load',
  title: 'Large objects',
  about: 'About it.',
  parameters: { objects: 4 },
  rows: [{ name: 'primed', figures: { throughput: { unit: 'GiB/s', value: 1.2345, samples: [1.2, 1.2345, 1.5] } } }],
  verdicts: [{ name: 'Throughput', value: 0.876, unit: 'x', bound: 'at least', limit: 0.8, met: true }],
  notes: ['one note'],
  command: 'npm run bench -- load',
  runs: 3,
  quick: false,
  date: '2026-01-02T03:04:05.000Z',
  commit: 'abcdef1234',
  machine: { cpu: 'A CPU', cores: 2, memoryGiB: 8, kernel: '6.1', device: 'ext4 on /dev/x', node: '20.19.0' },
};

let copy: string;
beforeEach(() => {
  copy = mkdtempSync(join(tmpdir(), 'generate-'));
  mkdirSync(join(copy, 'scripts'));
  mkdirSync(join(copy, 'docs', 'benchmarks'), { recursive: true });
  cpSync(join(project, 'scripts', 'generate-benchmarks.mjs'), join(copy, 'scripts', 'generate-benchmarks.mjs'));
  cpSync(join(project, 'README.md'), join(copy, 'README.md'));
});
afterEach(() => rmSync(copy, { recursive: true }));

function generate(root: string, ...flags: string[]) {
  const done = spawnSync(process.execPath, [join(root, 'scripts', 'generate-benchmarks.mjs'), ...flags], {
    encoding: 'utf8',
  });
  return { status: done.status, errors: done.stderr };
}

test('the documents of this project are those that its published results make', () => {
  expect(generate(project, '--check')).toEqual({ status: 0, errors: '' });
});

test('a published result appears in both documents, and any change of either is found', () => {
  writeFileSync(join(copy, 'docs', 'benchmarks', 'load.json'), JSON.stringify(result));
  expect(generate(copy, '--check').errors).toContain('README.md is not what the published results make');
  expect(generate(copy).status).toBe(0);
  expect(generate(copy, '--check')).toEqual({ status: 0, errors: '' });

  const document = readFileSync(join(copy, 'docs', 'BENCHMARKS.md'), 'utf8');
  expect(document).toContain('| primed | 1.23 GiB/s (1.2 to 1.5) |');
  expect(document).toContain('Medians of 3');
  expect(document).toContain('at commit abcdef1234: A CPU, 2 cores');
  const readmePath = join(copy, 'README.md');
  const readme = readFileSync(readmePath, 'utf8');
  expect(readme).toContain('| Throughput | **0.876x** | at least 0.8x | reached |');

  writeFileSync(readmePath, readme.replace('0.876x', '0.99x'));
  const drift = generate(copy, '--check');
  expect(drift.status).toBe(1);
  expect(drift.errors).toContain('README.md');
});
