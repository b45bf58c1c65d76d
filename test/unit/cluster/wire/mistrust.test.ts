/** A worker whose certificate the coordinator does not accept. */
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { RemoteLink } from '../../../../src/cluster/wire/remote-link.ts';
import { Revocations } from '../../../../src/core/revocations.ts';
import type { LoadId, RunId, WorkerId } from '../../../../src/core/types.ts';
import { makeAuthority } from '../../../support/certificate.ts';
import { revocationList } from '../../../support/revocation.ts';

const theirs = makeAuthority('theirs');
const w1 = theirs.sign('w1');
const revocations = new Revocations(revocationList(theirs, { revoked: [w1.cert] }), theirs.cert);

test.each([
  ['another CA has signed', { ca: makeAuthority('ours').cert }, /unable to verify the first/],
  ['is revoked', { ca: theirs.cert, revocations }, /it has been revoked/],
])(
  'one that %s: its calls are rejected by name, with what is wrong and what to look at, said once',
  async (_, tls, why) => {
    const lines: string[] = [];
    const note = (_facts: object, line: string): void => void lines.push(line);
    const server = createServer(w1).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    let handshakes = 0;
    server.on('connection', () => {
      handshakes += 1;
    });
    const link = new RemoteLink({
      ...{ id: 'w1' as WorkerId, url: `https://127.0.0.1:${port}`, epoch: 1, coordinator: 'c' },
      tls,
      log: { debug: note, info: note, warn: note, error: note } as never,
    });
    const refusal = {
      code: 'WORKER_REFUSED',
      message: expect.stringMatching(/certificate of worker 'w1'.*tls\.ca_file/),
    };
    await expect(link.cached({ run: 'r' as RunId, load: 'l' as LoadId }, [])).resolves.toEqual([]);
    await expect(link.stopRun('r' as never)).rejects.toMatchObject(refusal);
    await expect.poll(() => handshakes, { timeout: 20_000 }).toBeGreaterThan(2);
    expect(lines.filter((line) => line.includes('certificate'))).toHaveLength(1);
    await expect(link.stopRun('r' as never)).rejects.toThrow(why);
    link.lost();
    server.close();
  },
);

test('a link that is up ends when the certificate of the worker is revoked', async () => {
  const server = createServer(w1).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  const sockets = new WebSocketServer({ server, handleProtocols: ([first]) => first ?? false });
  const opened = new Promise<WebSocket>((resolve) => void sockets.once('connection', resolve));
  const tls = { ca: theirs.cert, revocations: new Revocations(revocationList(theirs), theirs.cert) };
  const nothing = (): void => undefined;
  const link = new RemoteLink({
    ...{ id: 'w1' as WorkerId, url: `https://127.0.0.1:${port}`, epoch: 1, coordinator: 'c', tls },
    log: { debug: nothing, info: nothing, warn: nothing, error: nothing },
  });
  const socket = await opened;
  const closed = new Promise((resolve) => socket.once('close', resolve));
  tls.revocations = revocations;
  await closed;
  link.lost();
  sockets.close();
  server.close();
});
