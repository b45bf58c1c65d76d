/** Completion in the shells of Debian, of the real verbs: as files where the package puts them, and read in at the start. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { pressedTab, run } from '../support/shells.ts';

const program = join(import.meta.dirname, '../../dist/main.js');
const home = mkdtempSync(join(tmpdir(), 'primed-shells-'));
const bin = join(home, 'bin');
const scripts = { bash: join(home, 'primed.bash'), zsh: join(home, 'zsh', '_primed'), fish: '' };

beforeAll(() => {
  scripts.fish = join(home, '.local/share/fish/vendor_completions.d/primed.fish');
  for (const dir of ['bin', 'zsh', 'files', 'files/with blank', '.local/share/fish/vendor_completions.d'])
    mkdirSync(join(home, dir), { recursive: true });
  writeFileSync(join(home, 'files', 'primed one.toml'), '');
  // It completes only what is there.
  writeFileSync(join(bin, 'primed'), '#!/bin/sh\n', { mode: 0o755 });
  for (const [shell, path] of Object.entries(scripts))
    writeFileSync(path, run(process.execPath, [program, 'completion', shell]));
});
afterAll(() => rmSync(home, { recursive: true }));

/** A line, and what it has become; what is offered where there are several, which both lists have. */
const pressed: readonly (readonly [string, string])[] = [
  ['primed j', 'primed job '],
  ['primed job lo', 'primed job load '],
  ['primed job load --rep', 'primed job load --replicas '],
  ['primed job load s3://b/ --format j', 'primed job load s3://b/ --format json '],
  ['primed job load --format=j', 'primed job load --format=json '],
  ['primed doctor --role coord', 'primed doctor --role coordinator '],
  // The value of a flag is no verb.
  ['primed doctor --role worker --dee', 'primed doctor --role worker --deep '],
  ['primed job load --replicas 2 --verb', 'primed job load --replicas 2 --verbose '],
  ['primed job list --job-state wai', 'primed job list --job-state waiting '],
  ['primed completion f', 'primed completion fish '],
  ['primed worker und', 'primed worker undrain '],
  // Nothing is known of these.
  ['primed job load --replicas lo', 'primed job load --replicas lo'],
  ['primed job load s3://b/x', 'primed job load s3://b/x'],
  ['primed standalone --config files/pri', 'primed standalone --config files/primed\\ one.toml '],
  ['primed standalone --data files/w', 'primed standalone --data files/with\\ blank/'],
];
const lines = pressed.map(([line]) => line);
const wanted = pressed.map(([, line]) => line);
const begun = [`cd '${home}'`, `PATH='${bin}':$PATH`, "PS1='% '"];

test('bash', () => {
  expect(pressedTab('bash', [...begun, `source '${scripts.bash}'`], lines)).toEqual(wanted);
});

test.each([
  ['as a file of fpath', [`fpath=('${join(home, 'zsh')}' $fpath)`, 'autoload -Uz compinit && compinit -u -D']],
  ['read in at the start', ['autoload -Uz compinit && compinit -u -D', `source '${scripts.zsh}'`]],
])('zsh, %s', (_, set) => {
  expect(pressedTab('zsh', [...begun, ...set], lines)).toEqual(wanted);
});

test('fish: words, flags and values, with what they are for', () => {
  const ask = (line: string): string[] =>
    run('fish', ['--private', '-c', 'complete -C "$argv[1]"', line], {
      ...{ HOME: home, XDG_DATA_HOME: join(home, '.local/share'), XDG_CONFIG_HOME: join(home, 'none') },
      PATH: `${bin}:${process.env.PATH}`,
    })
      .split('\n')
      .filter(Boolean);
  const words = (line: string): string[] => ask(line).map((one) => one.split('\t')[0]!);
  for (const [line, becomes] of pressed) {
    // What it gives to programs is not quoted yet.
    const last = becomes
      .trimEnd()
      .split(/(?<!\\) /)
      .at(-1)!
      .replaceAll('\\ ', ' ');
    expect([line, words(line)]).toEqual([line, becomes === line ? [] : [last]]);
  }
  expect(words('primed job ')).toEqual(['free', 'history', 'limit', 'list', 'load', 'retry-failed']);
  expect(ask('primed worker dr')).toEqual(['drain\tgive a worker no new segments; it keeps and serves what it has']);
  expect(words('primed doctor --role worker ')).toEqual([]);
  const flags = words('primed worker list --');
  expect(flags).toEqual(expect.arrayContaining(['--coordinator', '--format']));
  // Of the verb above it.
  expect(flags).not.toContain('--store-size');
});
