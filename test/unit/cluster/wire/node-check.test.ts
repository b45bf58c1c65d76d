/** Nodes known by certificates: whose session is taken up again is looked at like at its beginning. */
import { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { connect } from 'node:tls';
import { expect, onTestFinished, test } from 'vitest';
import { nodeCheck } from '../../../../src/cluster/wire/node-check.ts';
import type { ServerTls } from '../../../../src/core/node-tls.ts';
import { Revocations } from '../../../../src/core/revocations.ts';
import { fastifyOver } from '../../../../src/server/over-tls.ts';
import { makeAuthority, signedBy } from '../../../support/certificate.ts';
import { revocationList } from '../../../support/revocation.ts';

const root = makeAuthority('nodes');
const between = root.sign('between');
const server = root.sign('server');

function below(name: string) {
  const leaf = signedBy(between, name);
  return { key: leaf.key, cert: leaf.cert + between.cert };
}

/** Two routes, each with a check of its own, as the routes of a port have. */
async function port(revoked: readonly string[]) {
  const revocations = new Revocations(revocationList(root, { revoked }), root.cert);
  const tls: ServerTls = { ...server, clientCa: root.cert, nodeCa: root.cert, revocations };
  const app = fastifyOver(tls, { forceCloseConnections: true });
  app.get('/open', async () => 'open');
  const access = { certificates: true, ownTls: tls };
  for (const path of ['/one', '/other']) {
    const check = nodeCheck(access, 'cluster.token')!;
    app.get(path, async ({ raw }) => check(raw) ?? 'accepted');
  }
  onTestFinished(() => app.close());
  return Number(new URL(await app.listen({ host: '127.0.0.1', port: 0 })).port);
}

interface Answer {
  readonly text: string;
  readonly resumed: boolean;
  readonly ticket: Buffer;
}

/** One request on a connection of its own. Ends with the ticket that the server has given for the next one. */
function ask(at: number, path: string, who: { key: string; cert: string }, session?: Buffer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let text = '';
    let ticket: Buffer = Buffer.alloc(0);
    const socket: TLSSocket = connect({
      ...{ ...who, host: '127.0.0.1', port: at, ca: root.cert, minVersion: 'TLSv1.3' as const },
      ...(session && { session }),
    });
    socket.on('session', (given: Buffer) => {
      ticket = given;
    });
    socket.on('secureConnect', () => {
      const resumed = socket.isSessionReused();
      socket.on('data', (bytes) => {
        text += bytes.toString('latin1');
      });
      socket.on('end', () => resolve({ text: text.slice(text.indexOf('\r\n\r\n') + 4), resumed, ticket }));
      socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
    });
    socket.on('error', reject);
  });
}

test('a node below a CA that is revoked is refused with a session that it takes up again, wherever it asks first', async () => {
  const at = await port([between.cert]);
  const revoked = below('revoked');
  const { text, ticket } = await ask(at, '/open', revoked);
  expect(text).toBe('open');
  for (const path of ['/one', '/other'])
    expect(await ask(at, path, revoked, ticket)).toMatchObject({
      ...{ resumed: true, text: expect.stringContaining('the CA in between') },
    });
});

test('others take theirs up again on every route, whatever they have asked before', async () => {
  const at = await port([]);
  const honest = below('honest');
  const { ticket } = await ask(at, '/open', honest);
  for (const path of ['/one', '/other'])
    expect(await ask(at, path, honest, ticket)).toMatchObject({ resumed: true, text: 'accepted' });
});

test('with lists, who shows a certificate of which nobody knows any more who has signed it is refused', () => {
  const certificate = new X509Certificate(below('forgotten').cert);
  const socket = {
    ...{ encrypted: true, authorized: true, isSessionReused: () => true },
    getPeerCertificate: () => certificate.toLegacyObject(),
    getPeerX509Certificate: () => certificate,
  };
  const tls = { ...server, clientCa: root.cert, nodeCa: root.cert };
  const said = (ownTls: ServerTls) => nodeCheck({ certificates: true, ownTls }, 'cluster.token')!(request);
  const request = { headers: {}, socket } as never;
  expect(said(tls)).toBeUndefined();
  const revocations = new Revocations(revocationList(root), root.cert);
  expect(said({ ...tls, revocations })).toMatch(/not accepted \(nobody knows/);
  // A connection that is open outlives a change of the CA.
  const changing = { ...tls, nodeCa: root.cert + between.cert, revocations };
  const check = nodeCheck({ certificates: true, ownTls: changing }, 'cluster.token')!;
  expect(check(request)).toBeUndefined();
  changing.nodeCa = makeAuthority('next').cert;
  expect(check(request)).toBeUndefined();
});
