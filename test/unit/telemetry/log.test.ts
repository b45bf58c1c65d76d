import { expect, test, vi } from 'vitest';
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

test('a million lines of one text are few, with how many were left out, and others are not held up', () => {
  vi.useFakeTimers();
  try {
    const { lines, destination } = captured();
    const limits = { burst: 30, everyMs: 60_000 };
    const log = makeLog({ level: 'info', pretty: false, destination, limits, now: () => Date.now() });
    const count = 20_000;
    for (let file = 0; file < count; file += 1) log.warn({ path: `s3://b/${file}` }, 'a file is refused');
    log.error({}, 'something else');
    log.info({ path: 'x' }, 'a file is refused');
    expect(lines).toHaveLength(32);
    vi.advanceTimersByTime(60_000);
    // The newest of those that were left out, and how many more there were.
    const told = lines.slice(32).map((line) => JSON.parse(line));
    expect(told).toMatchObject([
      { level: 'warn', msg: 'a file is refused', path: `s3://b/${count - 1}`, leftOut: count - 31 },
    ]);
    vi.advanceTimersByTime(600_000);
    expect(lines).toHaveLength(33);
    // After ten minutes without one there is room for as many again.
    for (let file = 0; file < 15; file += 1) log.warn({}, 'a file is refused');
    expect(lines.length).toBe(33 + 10);
    log.tellLeftOut();
    expect(JSON.parse(lines.at(-1)!)).toMatchObject({ msg: 'a file is refused', leftOut: 4 });
    const written = lines
      .map((line) => JSON.parse(line))
      .filter(({ level, msg }) => level === 'warn' && msg === 'a file is refused');
    expect(written.length + written.reduce((sum, { leftOut = 0 }) => sum + leftOut, 0)).toBe(count + 15);
  } finally {
    vi.useRealTimers();
  }
});

test('a line that comes before the others of its text were told says how many they are', () => {
  vi.useFakeTimers();
  try {
    const { lines, destination } = captured();
    const limits = { burst: 1, everyMs: 60_000 };
    const log = makeLog({ level: 'info', pretty: false, destination, limits, now: () => Date.now() });
    for (let count = 0; count < 3; count += 1) log.warn({}, 'one');
    vi.advanceTimersByTime(30_000);
    for (let count = 0; count < 3; count += 1) log.warn({}, 'two');
    // What is left out is told at 60 s and 120 s; the second text may be written again from 90 s on.
    vi.advanceTimersByTime(65_000);
    log.warn({ at: 95 }, 'two');
    const written = lines.map((line) => JSON.parse(line)).filter(({ msg }) => msg === 'two');
    expect(written).toMatchObject([{}, { at: 95, leftOut: 2 }]);
    vi.advanceTimersByTime(600_000);
    expect(lines.filter((line) => line.includes('two'))).toHaveLength(2);
  } finally {
    vi.useRealTimers();
  }
});

test('a fault that lasts for a day is a line a minute', () => {
  vi.useFakeTimers();
  try {
    const { lines, destination } = captured();
    const log = makeLog({ level: 'info', pretty: false, destination, now: () => Date.now() });
    for (let minute = 0; minute < 1440; minute += 1) {
      for (let attempt = 0; attempt < 100; attempt += 1) log.warn({ attempt }, 'it fails');
      vi.advanceTimersByTime(60_000);
    }
    expect(lines.length).toBeLessThanOrEqual(30 + 1440);
    expect(lines.length).toBeGreaterThan(1440);
  } finally {
    vi.useRealTimers();
  }
});

test('events and what is written for who looks for a fault are never left out', () => {
  const { lines, destination } = captured();
  const log = makeLog({ level: 'debug', pretty: false, destination });
  for (let count = 0; count < 500; count += 1) {
    log.info({ event: 'audit', count }, 'audit');
    log.debug({ count }, 'a part failed');
  }
  expect(lines).toHaveLength(1000);
  for (let count = 0; count < 500; count += 1) log.info({ event: 'audit', result: 'refused', count }, 'audit');
  expect(lines).toHaveLength(1030);
});
