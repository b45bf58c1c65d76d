/** Connections whose certificate is revoked: those that are open, and those that somebody wants to open. */
import { createServer } from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import { connect } from 'node:tls';
import { Agent, request } from 'undici';
import { expect, onTestFinished, test, vi } from 'vitest';
import { connectorOf } from '../../../src/client/connector.ts';
import { lookEveryMs } from '../../../src/core/dial-tls.ts';
import type { ClientTls, ServerTls } from '../../../src/core/node-tls.ts';
import { Revocations } from '../../../src/core/revocations.ts';
import { changeTls, type Live } from '../../../src/live.ts';
import { makeS3Origin } from '../../../src/origin/lane-origin.ts';
import { bearerAuth } from '../../../src/server/auth.ts';
import { installErrorHandler } from '../../../src/server/errors.ts';
import { fastifyOver } from '../../../src/server/over-tls.ts';
import { makeAuthority } from '../../support/certificate.ts';
import { revocationList } from '../../support/revocation.ts';

const [people, nodes] = [makeAuthority('people'), makeAuthority('nodes')];
const [alice, bob, node] = [people.sign('alice'), people.sign('bob'), nodes.sign('node')];
const listOf = (authority: typeof people, ...revoked: { readonly cert: string }[]): Revocations =>
  new Revocations(revocationList(authority, { revoked: revoked.map(({ cert }) => cert) }), authority.cert);

/** May change, as those of a daemon do. */
type Changing<T> = { -readonly [K in keyof T]: T[K] };

async function guarded() {
  const tls: Changing<ServerTls> = { ...node, clientCa: people.cert, peopleCa: people.cert };
  const certificates = {
    now: [
      { subject: 'CN=alice', role: 'read' },
      { subject: 'CN=bob', role: 'read' },
    ] as const,
  };
  const app = fastifyOver(tls, { forceCloseConnections: true });
  installErrorHandler(app, { debug() {}, info() {}, warn() {}, error() {} });
  app.register(bearerAuth, { token: 'the-token', certificates, ownTls: tls });
  app.get('/api/v1/workers', async () => []);
  onTestFinished(() => app.close());
  return { tls, url: await app.listen({ host: '127.0.0.1', port: 0 }), app };
}

test('an open connection of who is revoked is refused at its next request; an idle one ends by itself; others stay', async () => {
  // So that no look at the certificate comes between.
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  onTestFinished(() => void vi.useRealTimers());
  const { tls, url } = await guarded();
  const ends = (who: typeof alice): Promise<string> => {
    const socket = connect({ ...who, ca: nodes.cert, port: Number(new URL(url).port), host: '127.0.0.1' });
    return new Promise((resolve) => {
      socket.on('secureConnect', () => socket.write('GET /api/v1/workers HTTP/1.1\r\nHost: localhost\r\n\r\n'));
      socket.once('data', (bytes) => {
        const first = bytes.toString('latin1').slice(9, 12);
        idle.push(first);
        socket.once('close', () => resolve(first)).on('error', () => undefined);
      });
      onTestFinished(() => void socket.destroy());
    });
  };
  const idle: string[] = [];
  const [ofAlice, ofBob] = [ends(alice), ends(bob)];
  const agent = new Agent({ connect: { ca: nodes.cert, ...alice }, connections: 1 });
  onTestFinished(() => agent.destroy());
  const ask = async () => {
    const { statusCode, headers, body } = await request(`${url}/api/v1/workers`, { dispatcher: agent });
    return { statusCode, connection: headers.connection, text: await body.text() };
  };
  expect(await ask()).toMatchObject({ statusCode: 200, connection: 'keep-alive' });
  await expect.poll(() => idle, { timeout: 20_000 }).toEqual(['200', '200']);
  tls.revocations = listOf(people, alice);
  expect(await ask()).toMatchObject({
    ...{ statusCode: 401, connection: 'close', text: expect.stringContaining('it has been revoked') },
  });
  vi.advanceTimersByTime(lookEveryMs);
  expect(await ofAlice).toBe('200');
  const still = await Promise.race([ofBob, Promise.resolve('open')]);
  expect(still).toBe('open');
  delete tls.revocations;
  expect(await ask()).toMatchObject({ statusCode: 200 });
});

test('lists come and go while a node runs', () => {
  const server: ServerTls = { ...node, clientCa: people.cert };
  const live = { tls: { server }, etcdTls: {} } as unknown as Live;
  const revocations = listOf(people);
  changeTls(live, { tls: { server: { ...node, revocations } }, etcdTls: {} });
  expect(server.revocations).toBe(revocations);
  changeTls(live, { tls: { server: { ...node } }, etcdTls: {} });
  expect('revocations' in server).toBe(false);
});

async function nodeServer(): Promise<{ url: string; port: number; sockets: Set<Socket> }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer(node, (_request, response) => void response.end('here'));
  server.on('secureConnection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => undefined);
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  return { url: `https://127.0.0.1:${port}`, port, sockets };
}

test('a node that is revoked is not connected to any more, and who is connected lets go', async () => {
  const { url, sockets } = await nodeServer();
  const tls: Changing<ClientTls> = { ca: nodes.cert, revocations: listOf(nodes) };
  const agent = new Agent({ connect: connectorOf(tls), keepAliveTimeout: 600_000, connections: 1 });
  onTestFinished(() => agent.destroy());
  const ask = async (): Promise<string> => (await request(url, { dispatcher: agent })).body.text();
  expect(await ask()).toBe('here');
  expect(sockets.size).toBe(1);
  tls.revocations = listOf(nodes, node);
  await expect.poll(() => sockets.size, { timeout: 20_000 }).toBe(0);
  await expect(ask()).rejects.toMatchObject({ code: 'CERT_REVOKED', message: expect.stringContaining('been revoked') });
  delete tls.revocations;
  expect(await ask()).toBe('here');
});

test('a lane copies from no node that is revoked', async () => {
  const { port } = await nodeServer();
  const outcomeOf = (revokedPem: string): Promise<string> => {
    const origin = makeS3Origin({
      ...{ kind: 's3', originIndex: -1, host: '127.0.0.1', port, tls: true, hostHeader: `127.0.0.1:${port}` },
      ...{ pathPrefix: '', bucket: '', region: '', forcePathStyle: true, signed: false },
      ...{ caPem: nodes.cert, revokedPem },
    });
    const socket = origin.open({ buffer: () => new Uint8Array(1024), callback: () => true });
    onTestFinished(() => void socket.destroy());
    return new Promise((resolve) => {
      socket.on('secureConnect', () => resolve('connected'));
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    });
  };
  expect(await outcomeOf(revocationList(nodes))).toBe('connected');
  expect(await outcomeOf(revocationList(nodes, { revoked: [node.cert] }))).toBe('CERT_REVOKED');
});
