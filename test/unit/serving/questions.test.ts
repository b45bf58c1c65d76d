/** Questions of a serving thread to the main thread: asked together, answered once each, and none waits for ever. */
import { setImmediate as turn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import type { ObjectVersion, UfsPath } from '../../../src/core/types.ts';
import type { Question } from '../../../src/serving/protocol.ts';
import { answerLimitMs, mostQuestions, Questions } from '../../../src/serving/questions.ts';

const version: ObjectVersion = { etag: 'e', sizeBytes: 1, lastModifiedMs: 0 };

function open() {
  const posted: (readonly Question[])[] = [];
  const heard: (readonly [name: string, etag: string | undefined])[] = [];
  const clock = { nowMs: 0 };
  const questions = new Questions({ post: (all) => posted.push(all), now: () => clock.nowMs });
  const ask = (name: string): void =>
    questions.ask(`s3://b/${name}` as UfsPath, (said) => heard.push([name, said?.etag]));
  return { questions, ask, posted, heard, clock };
}

it('what is asked in one turn is one message, and each question hears its own answer once', async () => {
  const { questions, ask, posted, heard } = open();
  for (const name of ['a', 'b', 'a']) ask(name);
  expect(posted).toEqual([]);
  await turn();
  expect(posted).toHaveLength(1);
  expect(posted[0]!.map(({ path }) => path)).toEqual(['s3://b/a', 's3://b/b', 's3://b/a']);
  const [first, second, third] = posted[0]!;
  questions.answered([
    { id: third!.id, version: { ...version, etag: 'newer' } },
    { id: second!.id, version: undefined },
  ]);
  questions.answered([{ id: third!.id, version }]);
  expect(heard).toEqual([
    ['a', 'newer'],
    ['b', undefined],
  ]);
  questions.answered([{ id: first!.id, version }]);
  expect(heard[2]).toEqual(['a', 'e']);
});

it('who is not answered in time, or comes when too many wait, hears that nothing is known', async () => {
  const { questions, ask, heard, clock } = open();
  ask('old');
  clock.nowMs = 1;
  ask('young');
  clock.nowMs = answerLimitMs;
  questions.giveUp();
  expect(heard).toEqual([['old', undefined]]);
  await turn();
  for (let at = 1; at < mostQuestions; at += 1) ask(String(at));
  expect(heard).toHaveLength(1);
  ask('one too many');
  expect(heard).toEqual([
    ['old', undefined],
    ['one too many', undefined],
  ]);
});
