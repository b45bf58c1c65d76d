/** Bytes that clients write through are counted under the limits of their origin, before they are sent. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { PrimedError } from '../../../src/core/errors.ts';
import type { UfsPath } from '../../../src/core/types.ts';
import { openOrigins } from '../../../src/origin/origins.ts';
import { silent } from '../../support/silent.ts';
import { timeouts } from './raw-server.ts';

const path = 's3://bucket/key' as UfsPath;
const pieces = [3000, 1, 70_000].map((length) => Buffer.alloc(length, 'x'));
const length = pieces.reduce((sum, piece) => sum + piece.length, 0);

async function open(spend: (bytes: number) => Promise<void>) {
  let receivedBytes = 0;
  let bodies = 0;
  const server = createServer((request, response) => {
    request.on('data', (bytes: Buffer) => (receivedBytes += bytes.length));
    request.on('error', () => undefined);
    request.on('end', () => {
      bodies += 1;
      response.end();
    });
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const log: string[] = [];
  const origins = openOrigins({
    ufs: [{ prefix: 's3://', endpoint, region: 'us-east-1', accessKeyId: 'AK', secretAccessKey: 'SK' }],
    ...{ timeouts, retry: { attempts: 1 }, log: silent },
    gate: {
      know: () => undefined,
      admit: async () => void log.push('admit'),
      enter: () => log.push('enter'),
      leave: () => log.push('leave'),
      spend: async (_, bytes) => {
        log.push(String(bytes));
        await spend(bytes);
      },
    },
  });
  onTestFinished(async () => {
    await origins.close();
    server.closeAllConnections();
    await new Promise((resolve) => void server.close(resolve));
  });
  const write = () =>
    origins.write(path, {
      ...{ method: 'PUT', query: {}, headers: {}, length, signal: new AbortController().signal },
      body: (async function* () {
        yield* pieces;
      })(),
    });
  return { write, log, received: () => receivedBytes, bodies: () => bodies };
}

it('each piece is counted, and is sent when it may be', async () => {
  let release = (): void => undefined;
  const first = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { write, log, received, bodies } = await open(() => first);
  const answer = write();
  await expect.poll(() => log).toEqual(['admit', 'enter', '3000']);
  expect(received()).toBe(0);
  release();
  expect((await answer).status).toBe(200);
  expect(log).toEqual(['admit', 'enter', '3000', '1', '65536', '4464', 'leave']);
  expect([received(), bodies()]).toEqual([length, 1]);
});

it('what may not be sent makes no object, says why, and holds nothing back afterwards', async () => {
  const { write, log, bodies } = await open(async (bytes) => {
    if (bytes === 1) throw new PrimedError('TOO_BUSY', 'the limit leaves nothing');
  });
  await expect(write()).rejects.toMatchObject({ code: 'TOO_BUSY' });
  expect(log).toEqual(['admit', 'enter', '3000', '1', 'leave']);
  expect(bodies()).toBe(0);
});
