/** The units, by systemd's own checkers; the program that they start is put in their place, as it is not installed here. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { projectRoot, temporaryFolder } from '../support/files.ts';

const units = join(projectRoot, 'deploy', 'systemd');
const names = readdirSync(units).filter((name) => name.endsWith('.service'));
const folder = temporaryFolder('systemd');
/** systemd's own scale has ten steps of ten. */
const exposureLimit = 20;

beforeAll(() => {
  for (const name of names) {
    const unit = readFileSync(join(units, name), 'utf8');
    const started = unit.replaceAll('/usr/bin/primed ', '/bin/true ');
    expect(started).not.toBe(unit);
    writeFileSync(join(folder.path, name), started);
  }
});
afterAll(() => folder.remove());

it('there is one for a coordinator and one for a worker', () => {
  expect(names.toSorted()).toEqual(['primed-coordinator.service', 'primed-worker.service']);
});

it.each(names)('%s has nothing that systemd does not understand', (name) => {
  const { status, stderr } = spawnSync('systemd-analyze', ['verify', join(folder.path, name)], { encoding: 'utf8' });
  expect([status, stderr]).toEqual([0, '']);
});

it.each(names)('%s starts again after a SIGHUP that ended it, which systemd takes for a clean end', (name) => {
  const file = join(folder.path, name);
  expect(readFileSync(file, 'utf8')).toMatch(/^RestartForceExitStatus=SIGHUP$/m);
  const wrong = join(folder.path, `signal-${name}`);
  writeFileSync(wrong, readFileSync(file, 'utf8').replace('=SIGHUP', '=SIGHANGUP'));
  expect(spawnSync('systemd-analyze', ['verify', wrong], { encoding: 'utf8' }).stderr).toMatch(/SIGHANGUP/);
});

it.each(names)('a word that systemd does not know in %s is found', (name) => {
  const wrong = join(folder.path, `wrong-${name}`);
  writeFileSync(wrong, readFileSync(join(folder.path, name), 'utf8').replace('NoNewPrivileges=', 'NoNewPrivilege='));
  const { stderr } = spawnSync('systemd-analyze', ['verify', wrong], { encoding: 'utf8' });
  expect(stderr).toMatch(/NoNewPrivilege/);
});

it.each(names)('%s exposes little', (name) => {
  const args = ['security', '--offline=true', `--threshold=${exposureLimit}`, join(folder.path, name)];
  expect(execFileSync('systemd-analyze', args, { encoding: 'utf8' })).toMatch(/Overall exposure level .*: [01]\.\d/);
});
