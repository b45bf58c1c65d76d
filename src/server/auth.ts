/** Who may ask what of the API and worker ports: bearer tokens and certificates of people, each with a role. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { TLSSocket } from 'node:tls';
import type { FastifyPluginCallback, FastifyRequest } from 'fastify';
import { SignedBy } from '../cluster/wire/signed-by.ts';
import { sentOn } from '../core/certificate-chain.ts';
import { certificateCaller, type NamedCertificate, namesOf } from '../core/certificates.ts';
import { PrimedError } from '../core/errors.ts';
import { type LiveText, textOf } from '../core/live.ts';
import type { ServerTls } from '../core/node-tls.ts';
import { allows, type Caller, type NamedToken, type TokenRole } from '../core/roles.ts';
import { forParent } from './plugin.ts';
import { roleOfRoute } from './route-roles.ts';

export interface AuthOptions {
  /** Of the role `admin`. Undefined: nothing is asked for. */
  readonly token?: LiveText;
  /** Others. Read at each request. */
  readonly others?: { readonly now: readonly NamedToken[] };
  /** Roles of certificates, which count where a request carries no token. Read at each request. */
  readonly certificates?: { readonly now: readonly NamedCertificate[] };
  /** Of the port; undefined: nobody shows it a certificate. */
  readonly ownTls?: ServerTls;
}

/** OpenSSL's words for a certificate that it does not accept. */
const reasons: ReadonlyMap<string, string> = new Map([
  ['CERT_HAS_EXPIRED', 'it has expired'],
  ['CERT_NOT_YET_VALID', 'it begins to be valid later'],
  ...['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'UNABLE_TO_GET_ISSUER_CERT', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY'].map(
    (code) => [code, 'no CA has signed it that tls.client_ca_file of the daemon names'] as const,
  ),
]);

/** What a load balancer or an orchestrator asks, which have no token. */
const openPaths = new Set(['/health/live', '/health/ready']);

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The route asks for a token of its own, in place of the server's. */
    readonly ownToken?: boolean;
    /** Everybody may ask, also where tokens are asked for. */
    readonly open?: boolean;
  }
  interface FastifyRequest {
    /** Undefined: nobody was asked who he is. */
    caller?: Caller;
    /** Whether the token still counts, and still has the role of the route: for answers that last. */
    stillMay(): boolean;
  }
}

/**
 * Refuses every request of the server it is registered on, unknown paths included, that lacks a token (UNAUTHENTICATED), or
 * whose token has not the role of the route (FORBIDDEN).
 */
export const bearerAuth: FastifyPluginCallback<AuthOptions> = forParent((app, options, done) => {
  const { token, others, certificates, ownTls } = options;
  const signedBy = new SignedBy();
  /** Of the certificate of somebody, if one was shown that the CA of people has signed. */
  const namesShown = ({ raw }: FastifyRequest): readonly string[] | undefined => {
    const socket = raw.socket as TLSSocket;
    const chain = ownTls?.peopleCa === undefined ? undefined : signedBy.chainOf(socket, ownTls.peopleCa);
    if (chain === undefined || ownTls?.revocations?.problemOf(chain, Date.now()) !== undefined) return undefined;
    const { subject, subjectaltname } = socket.getPeerCertificate();
    return namesOf({ commonName: subject?.CN, alternative: subjectaltname });
  };
  /** Of who has shown a certificate in vain, behind what else is wrong. */
  const whyNotAccepted = ({ raw }: FastifyRequest): string => {
    const socket = raw.socket as TLSSocket;
    if (ownTls?.peopleCa === undefined || sentOn(socket).length === 0) return '';
    const chain = signedBy.chainOf(socket, ownTls.peopleCa);
    const reason = socket.authorized
      ? chain === undefined
        ? 'another CA has signed it than tls.client_ca_file of the daemon'
        : ownTls.revocations?.problemOf(chain, Date.now())
      : reasons.get(String(socket.authorizationError));
    return `, and its client certificate is not accepted (${reason ?? socket.authorizationError})`;
  };
  app.decorateRequest('stillMay', () => true);
  app.addHook('onRequest', async ({ method, headers }) => {
    if (method !== 'GET' && method !== 'HEAD') refuseOtherSites(headers);
  });
  if (token !== undefined) {
    const known = (): readonly NamedToken[] => [
      { name: 'api_token', role: 'admin', token: textOf(token) },
      ...(others?.now ?? []),
    ];
    app.addHook('onRequest', async (request, reply) => {
      const { url, method, routeOptions } = request;
      if (
        openPaths.has(url.split('?', 1)[0]!) ||
        routeOptions.config.ownToken === true ||
        routeOptions.config.open === true
      )
        return;
      const given = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? '')?.[1];
      const callerNow = (): Caller | undefined => {
        if (given !== undefined) return callerOf(given, known());
        const names = namesShown(request);
        if (names === undefined) return undefined;
        return { ...certificateCaller(names, certificates?.now ?? []), byCertificate: true };
      };
      const caller = callerNow();
      if (caller === undefined) {
        void reply.header('www-authenticate', 'Bearer');
        const which = given === undefined ? 'no' : 'a wrong';
        const certificate = given === undefined ? whyNotAccepted(request) : '';
        // Whoever comes back shows the one that he has then.
        if (certificate !== '') void reply.header('connection', 'close');
        const message = `The request carries ${which} token${certificate}; send 'Authorization: Bearer <token>' with the api_token of the daemon.`;
        throw new PrimedError('UNAUTHENTICATED', message);
      }
      request.caller = caller;
      // A browser shows a certificate for whichever page asks, also to read what GET does.
      if (caller.byCertificate === true) refuseOtherSites(request.headers);
      // What is no route is answered 404 to everybody who has a token.
      const needed = roleOfRoute(method, routeOptions.url ?? '')?.role ?? 'admin';
      if (routeOptions.url !== undefined) needRole(request, needed);
      request.stillMay = () => allows(callerNow()?.role, needed);
    });
  }
  done();
});

/**
 * Throws FORBIDDEN for what a page of another site has a browser send, which asks nobody before: where no token is asked for, it could
 * submit jobs to a daemon on loopback. Other clients say nothing of an origin.
 */
export function refuseOtherSites({ origin, host, 'sec-fetch-site': site }: IncomingHttpHeaders): void {
  // What the browser knows counts more: a proxy may have another name for this host.
  const isOurs = site !== undefined ? ourSites.has(String(site)) : origin === undefined || hostOf(origin) === host;
  if (isOurs) return;
  const message = `A page of another site${origin === undefined ? '' : ` (${origin})`} had a browser ask for this; only the console of this daemon may.`;
  throw new PrimedError('FORBIDDEN', message, { origin: origin ?? site });
}

/** A page of ours, and who uses the browser himself. */
const ourSites: ReadonlySet<string> = new Set(['same-origin', 'none']);

function hostOf(origin: string): string | undefined {
  try {
    return new URL(origin).host;
  } catch {
    return undefined;
  }
}

/** Throws FORBIDDEN where the caller has not this role; where no tokens are asked for, everybody may everything. */
export function needRole({ caller }: FastifyRequest, needed: TokenRole): void {
  if (caller === undefined || allows(caller.role, needed)) return;
  const { name, role, byCertificate } = caller;
  const who = `The ${byCertificate === true ? 'certificate' : 'token'} '${name}'`;
  const has = role === undefined ? 'no role (`[[certificate]]`)' : `the role ${role}`;
  throw new PrimedError('FORBIDDEN', `${who} has ${has}; this needs the role ${needed}.`, { role, needed });
}

/** All of them are compared, so that the time tells nothing. */
function callerOf(given: string, known: readonly NamedToken[]): Caller | undefined {
  const shown = digest(given);
  const right = known.filter(({ token }) => timingSafeEqual(digest(token), shown));
  return right[0] === undefined ? undefined : { name: right[0].name, role: right[0].role };
}

/** Of equal length whatever the token, so that comparing says nothing about its length either. */
function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
