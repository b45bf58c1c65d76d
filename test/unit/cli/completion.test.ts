/** Completion, asked of bash itself, and the manual page. */
import { execFileSync } from 'node:child_process';
import { Argument, Command, Option } from 'commander';
import { expect, test } from 'vitest';
import { completionScript } from '../../../src/cli/completion-scripts.ts';
import { exitCodes } from '../../../src/cli/exit.ts';
import { manualPage } from '../../../src/cli/manual-page.ts';
import { verbTree } from '../../../src/cli/verb-tree.ts';

function program(): Command {
  const root = new Command('primed').description('Preloads things.');
  const job = root.command('job').description("jobs, and what is 'theirs'");
  job
    .command('load')
    .description('submit a load')
    .argument('<path>')
    .option('--replicas <n>', 'how many')
    .option('--index-file <file>', 'names files')
    .addOption(new Option('--format <format>', 'of the answer').choices(['TEXT', 'JSON']));
  job.command('list').description('all jobs').option('-a, --all', 'ended ones too');
  job.command('as').addArgument(new Argument('<form>').choices(['text', 'table']));
  root.command('secret', { hidden: true }).description('not for people');
  root.command('worker').description('a worker').option('--no-kill', 'do not');
  return root;
}

function completed(words: readonly string[]): string[] {
  const asked = words.map((word) => `'${word}'`).join(' ');
  const script = `${completionScript('bash', verbTree(program()))}
COMP_WORDS=(primed ${asked}); COMP_CWORD=${words.length}; _primed; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return execFileSync('bash', ['-c', script], { encoding: 'utf8', cwd: import.meta.dirname })
    .split('\n')
    .filter(Boolean);
}

test.each([
  [[''], ['job', 'worker']],
  [['j'], ['job']],
  [
    ['job', ''],
    ['load', 'list', 'as'],
  ],
  [
    ['job', 'load', '--'],
    ['--replicas', '--index-file', '--format'],
  ],
  [
    ['job', 'load', '--format', ''],
    ['TEXT', 'JSON'],
  ],
  [['job', 'load', '--replicas', '2', '--fo'], ['--format']],
  [['job', 'load', '--index-file', 'completion.t'], ['completion.test.ts']],
  [
    ['job', 'as', 't'],
    ['text', 'table'],
  ],
  [['worker', '--'], ['--no-kill']],
])('bash completes primed %j', (words, wanted) => {
  expect(completed(words)).toEqual(wanted);
});

test('zsh and fish have every verb and flag that people see, and no others', () => {
  for (const shell of ['zsh', 'fish'] as const) {
    const script = completionScript(shell, verbTree(program()));
    for (const word of ['load', 'list', 'worker', 'replicas', 'all', 'table']) expect(script).toContain(word);
    expect(script).not.toContain('secret');
  }
});

test('the manual page names each verb with its operands and flags, and escapes what roff would take', () => {
  const page = manualPage(verbTree(program()), '1.2.3');
  expect(page).toContain('.TH PRIMED 1 "" "primed 1.2.3"');
  expect(page).toContain('primed \\- preloads things\n');
  expect(page).toContain('.SS "primed job load <path>"\nsubmit a load\n');
  expect(page).toContain('\\fB\\-a, \\-\\-all\\fR\nended ones too\n');
  expect(page).toContain('.SS "primed worker"');
  expect(page).not.toMatch(/secret/);
  const [, exits] = page.split('.SH EXIT STATUS\n');
  const said = exits!.split('.SH ')[0]!.matchAll(/\\fB(\d+)\\fR/g);
  expect([...said].map(([, code]) => Number(code))).toEqual(Object.values(exitCodes).sort((a, b) => a - b));
});
