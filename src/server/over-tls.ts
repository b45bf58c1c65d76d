/** A server that speaks TLS where it was given a certificate, and plain HTTP else. */
import type { TLSSocket, TlsOptions } from 'node:tls';
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify';
import { SignedBy } from '../cluster/wire/signed-by.ts';
import { sentOn } from '../core/certificate-chain.ts';
import { watchCertificate } from '../core/dial-tls.ts';
import type { ServerTls } from '../core/node-tls.ts';

/** Time for a handshake; who takes longer holds a socket for nothing. */
const handshakeTimeoutMs = 10_000;

export function fastifyOver(tls: ServerTls | undefined, options: FastifyServerOptions): FastifyInstance {
  if (tls === undefined) return Fastify(options);
  const { http = {} } = options as { http?: object };
  const https = { ...http, ...tlsOptions(tls) };
  const app = Fastify({ ...options, http: null, https } as FastifyServerOptions) as unknown as FastifyInstance;
  endRevoked(app, tls);
  return app;
}

/** Connections of clients end when their certificate is revoked. @param tls may change */
function endRevoked(app: FastifyInstance, tls: ServerTls): void {
  const signedBy = new SignedBy();
  app.server.on('secureConnection', (socket: TLSSocket) => {
    if (tls.clientCa === undefined || sentOn(socket).length === 0) return;
    const problem = (): string | undefined => {
      const chain = tls.revocations && signedBy.chainOf(socket, tls.clientCa!);
      return chain && tls.revocations?.problemOf(chain, Date.now());
    };
    // Who comes with one that is revoked stays to be told so, and perhaps has a token.
    if (problem() === undefined) watchCertificate(socket, problem);
  });
}

export function tlsOptions({ cert, key, clientCa }: ServerTls): TlsOptions {
  // Whether who shows no certificate may do what it asks for is decided by the route.
  const asked = clientCa === undefined ? {} : { ca: clientCa, requestCert: true, rejectUnauthorized: false };
  return { cert, key, handshakeTimeout: handshakeTimeoutMs, ...asked };
}
