/** A server that speaks TLS where it was given a certificate, and plain HTTP else. */
import type { TlsOptions } from 'node:tls';
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify';
import type { ServerTls } from '../core/node-tls.ts';

/** Time for a handshake; who takes longer holds a socket for nothing. */
const handshakeTimeoutMs = 10_000;

export function fastifyOver(tls: ServerTls | undefined, options: FastifyServerOptions): FastifyInstance {
  if (tls === undefined) return Fastify(options);
  const { http = {} } = options as { http?: object };
  const https = { ...http, ...tlsOptions(tls) };
  return Fastify({ ...options, http: null, https } as FastifyServerOptions) as unknown as FastifyInstance;
}

export function tlsOptions({ cert, key, clientCa }: ServerTls): TlsOptions {
  // Whether who shows no certificate may do what it asks for is decided by the route.
  const asked = clientCa === undefined ? {} : { ca: clientCa, requestCert: true, rejectUnauthorized: false };
  return { cert, key, handshakeTimeout: handshakeTimeoutMs, ...asked };
}
