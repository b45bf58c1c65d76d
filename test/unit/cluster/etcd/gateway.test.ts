/** Calls at an endpoint to which there is never a connection: undici looks at the signal of a request only when it has one. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Gateway } from '../../../../src/cluster/etcd/gateway.ts';
import { memoryLog } from '../../../support/store-fixture.ts';

/** A machine that is gone answers no SYN. */
const goneHost = 'gone.invalid';
const dialled: string[] = [];
vi.mock('../../../../src/client/connector.ts', async (original) => {
  const { connectorOf } = await original<typeof import('../../../../src/client/connector.ts')>();
  return {
    connectorOf: (...of: Parameters<typeof connectorOf>): ReturnType<typeof connectorOf> => {
      const connect = connectorOf(...of);
      return (target, callback) => {
        dialled.push(target.hostname);
        if (target.hostname !== goneHost) connect(target, callback);
      };
    },
  };
});

let server: Server;
let gateway: Gateway;
let answered = 0;
beforeEach(async () => {
  dialled.length = answered = 0;
  server = createServer((request, response) => {
    answered += 1;
    request.resume();
    response.setHeader('content-type', 'application/json').end('{"header":{"revision":"7"}}');
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
});
afterEach(async () => {
  await gateway.close();
  server.closeAllConnections();
  await new Promise((resolve) => void server.close(resolve));
});

function open(endpoints: readonly string[], timeoutMs: number): void {
  const clock = { monotonicMs: () => performance.now(), wallMs: () => Date.now() };
  gateway = new Gateway({ endpoints, timeoutMs, clock, log: memoryLog() });
}
const here = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
const call = { path: 'kv/put', body: {} };

it('a call goes to the next one in its time, a write too: it was not sent', async () => {
  open([`http://${goneHost}:2379`, here()], 2_000);
  expect(await gateway.call({ ...call, idempotent: false })).toEqual({ header: { revision: '7' } });
  expect([dialled, answered]).toEqual([[goneHost, '127.0.0.1'], 1]);
});

it('a stream does so too', async () => {
  open([`http://${goneHost}:2379`, here()], 2_000);
  const stream = await gateway.stream({ path: 'watch', body: {} });
  expect(stream.endpoint).toBe(here());
  stream.close();
  expect(dialled[0]).toBe(goneHost);
});

it('alone it ends the call in its time, by name', async () => {
  open([`http://${goneHost}:2379`], 200);
  await expect(gateway.call({ ...call, idempotent: true })).rejects.toMatchObject({
    code: 'ETCD_UNAVAILABLE',
    message: expect.stringContaining('no answer within'),
  });
  expect(dialled).toEqual([goneHost]);
});
