/** A server that speaks TLS where it was given a certificate, and plain HTTP else. */
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify';
import type { ServerTls } from '../core/node-tls.ts';

/** Time for a handshake; who takes longer holds a socket for nothing. */
const handshakeTimeoutMs = 10_000;

export function fastifyOver(tls: ServerTls | undefined, options: FastifyServerOptions): FastifyInstance {
  if (tls === undefined) return Fastify(options);
  const { cert, key, clientCa } = tls;
  // Whether who shows no certificate may do what it asks for is decided by the route.
  const asked = clientCa === undefined ? {} : { ca: clientCa, requestCert: true, rejectUnauthorized: false };
  const { http = {} } = options as { http?: object };
  const https = { ...http, cert, key, handshakeTimeout: handshakeTimeoutMs, ...asked };
  return Fastify({ ...options, http: null, https } as FastifyServerOptions) as unknown as FastifyInstance;
}
