import { expect, test } from 'vitest';
import { PrimedError } from '../../../src/core/errors.ts';
import { makeLog } from '../../../src/telemetry/log.ts';

function captured(): { lines: string[]; destination: { write(line: string): void } } {
  const lines: string[] = [];
  return { lines, destination: { write: (line) => void lines.push(line) } };
}

test('lines are JSON with level, time, message and facts', () => {
  const { lines, destination } = captured();
  makeLog({ level: 'info', pretty: false, destination }).info({ job: 'j1', bytes: 5 }, 'loaded');
  expect(lines).toHaveLength(1);
  expect(JSON.parse(lines[0]!)).toMatchObject({ level: 'info', msg: 'loaded', job: 'j1', bytes: 5 });
  expect(Date.parse(JSON.parse(lines[0]!).time)).not.toBeNaN();
});

test('levels below the configured one are dropped', () => {
  const { lines, destination } = captured();
  const log = makeLog({ level: 'warn', pretty: false, destination });
  log.debug({}, 'a');
  log.info({}, 'b');
  log.warn({}, 'c');
  log.error({}, 'd');
  expect(lines.map((line) => JSON.parse(line).msg)).toEqual(['c', 'd']);
});

test('secrets are replaced wherever they lie in the facts', () => {
  const { lines, destination } = captured();
  const log = makeLog({ level: 'info', pretty: false, destination });
  log.info({ api_token: 'hush1', config: { api: { apiToken: 'hush2' } }, headers: { authorization: 'hush3' } }, 'x');
  log.info({ ufs: [{ secret_access_key: 'hush4', endpoint: 'http://s3' }], credentials: { any: 'hush5' } }, 'y');
  expect(lines.join('')).not.toContain('hush');
  expect(lines.join('')).toContain('http://s3');
  expect(lines.join('')).toContain('[secret]');
});

test('errors carry code, facts and stack', () => {
  const { lines, destination } = captured();
  const error = new PrimedError('STORE_NO_ROOM', 'no room', { neededBytes: 5 });
  makeLog({ level: 'info', pretty: false, destination }).error({ error }, 'refused');
  expect(JSON.parse(lines[0]!).error).toMatchObject({ code: 'STORE_NO_ROOM', facts: { neededBytes: 5 } });
  expect(JSON.parse(lines[0]!).error.stack).toContain('log.test.ts');
});

test('pretty lines are for people', () => {
  const { lines, destination } = captured();
  makeLog({ level: 'info', pretty: true, destination }).info({ job: 'j1' }, 'loaded');
  expect(lines.join('')).toContain('loaded');
  expect(() => JSON.parse(lines.join(''))).toThrow(SyntaxError);
});
