import { expect, it } from 'vitest';
import { Turns } from '../../../src/server/turns.ts';

it('so many at once, the others in the order in which they came', async () => {
  const turns = new Turns({ limit: 2, waitLimitMs: 60_000 });
  const entered: string[] = [];
  const enter = async (name: string) => {
    const leave = await turns.take();
    entered.push(name);
    return leave;
  };
  const [leaveA] = await Promise.all([enter('a'), enter('b')]);
  const [c, d] = [enter('c'), enter('d')];
  expect(entered).toEqual(['a', 'b']);
  leaveA();
  const leaveC = await c;
  expect(entered).toEqual(['a', 'b', 'c']);
  leaveA(); // twice is once
  leaveC();
  (await d)();
  expect(entered).toEqual(['a', 'b', 'c', 'd']);
});

it('who waits too long is told TOO_BUSY with the limit, and takes no turn from those behind', async () => {
  const turns = new Turns({ limit: 1, waitLimitMs: 20 });
  const leave = await turns.take();
  await expect(turns.take()).rejects.toMatchObject({
    code: 'TOO_BUSY',
    httpStatus: 503,
    retryable: true,
    message: expect.stringMatching(/1 reads are under way.*0\.02 s/),
  });
  leave();
  (await turns.take())();
});
