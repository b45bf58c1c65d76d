/** What every verb owes its users: an answer for programs too, and examples that are command lines of this program. */
import { expect, test } from 'vitest';
import { daemonVerb } from '../../../src/cli/daemon-verb.ts';
import { makeProgram } from '../../../src/cli/run.ts';
import { allVerbs, type Verb, verbTree } from '../../../src/cli/verb-tree.ts';
import { makeWorld } from './world.ts';

const roles = ['standalone', 'coordinator', 'worker'] as const;
const daemons = roles.map((role) => daemonVerb({ role, description: `run a ${role}`, start: async () => 0 }));
const program = makeProgram({ io: makeWorld(), exitCode: 0 }, daemons);
const all = [...allVerbs(verbTree(program))];
const verbs = all.filter(isLeaf);

/** What does something; `worker` is a daemon and a group. */
function isLeaf({ verbs: below, words }: Verb): boolean {
  return below.length === 0 || words.join(' ') === 'worker';
}

/** They write the bytes of files, scripts, or a log. */
const withoutForm = new Set([...roles, 'fs cat', 'completion']);

const named = verbs.map((verb) => [verb.words.join(' '), verb] as const);

test('the tree has the verbs that people use', () => {
  expect(named.map(([name]) => name)).toEqual(expect.arrayContaining(['job load', 'fs ls', 'config show', 'worker']));
  expect(named.length).toBeGreaterThan(20);
});

test.each(named.filter(([name]) => !withoutForm.has(name)))('%s prints text or JSON, as is wished', (_name, verb) => {
  expect(verb.flags.find(({ long }) => long === '--format')?.choices).toEqual(['text', 'json']);
});

test.each(named)('%s has examples, each of which is a command line of it', (name, verb) => {
  expect(verb.examples.length).toBeGreaterThan(0);
  for (const example of verb.examples) {
    const line = / ?<\((.*)\)/.exec(example)?.[1] ?? example;
    expect(line).toMatch(new RegExp(`^primed ${name}( |$)`));
    const known = new Set(verb.flags.flatMap(({ long, short }) => [long, short]));
    const flags = line.split(' ').filter((word) => /^-/.test(word));
    expect(flags.filter((flag) => !known.has(flag))).toEqual([]);
  }
});

test.each(
  all.filter((verb) => !isLeaf(verb)).map(({ words, examples }) => [['primed', ...words].join(' '), examples] as const),
)('the help of %s has examples, each of which is one of a verb of it', (words, examples) => {
  expect(examples.length).toBeGreaterThan(0);
  const lines = named.map(([name]) => `primed ${name}`);
  for (const example of examples.filter((line) => !line.startsWith('primed help '))) {
    expect(example.startsWith(`${words} `)).toBe(true);
    expect(lines.some((line) => example === line || example.startsWith(`${line} `))).toBe(true);
  }
});
