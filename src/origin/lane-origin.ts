/** One S3 origin as a lane sees it: how to open a socket to it, and how to say GET to it. */
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls, createSecureContext, type SecureContext } from 'node:tls';
import { checkRevoked } from '../core/dial-tls.ts';
import { Revocations } from '../core/revocations.ts';
import { asksWhole } from './answer.ts';
import type { OpenSocket } from './connection.ts';
import { checksumModeLine, encodeKey, encodeQueryValue, isHeaderSafe, makeSigner } from './signer.ts';
import type { LaneCredentials, LaneOrigin, RangeRequest } from './types.ts';

export type S3LaneOrigin = Extract<LaneOrigin, { kind: 's3' }>;

export interface S3Origin {
  readonly lane: S3LaneOrigin;
  readonly connectedEvent: 'connect' | 'secureConnect';
  readonly open: OpenSocket;
  credentials: LaneCredentials | undefined;
  setCredentials(credentials: LaneCredentials | undefined): void;
  /** What the origin's clock is ahead of ours. */
  setClockOffset(milliseconds: number): void;
  /** Whether requests can be composed: signed origins need credentials first. */
  readonly ready: boolean;
  /** The whole head of the request. */
  compose(request: RangeRequest): string;
}

export function makeS3Origin(lane: S3LaneOrigin): S3Origin {
  const signer = makeSigner({ region: lane.region, hostHeader: lane.hostHeader });
  const fixedLines = `Host: ${lane.hostHeader}\r\nUser-Agent: primed\r\nAccept: */*\r\n${tokenLine(lane)}`;
  const pathHead = `${lane.pathPrefix}/`;
  let credentials: LaneCredentials | undefined;
  let secureContext: SecureContext | undefined;
  let session: Buffer | undefined;
  const { caPem, revokedPem } = lane;
  const checks =
    caPem === undefined || revokedPem === undefined
      ? undefined
      : checkRevoked(caPem, new Revocations(revokedPem, caPem));

  const openTls: OpenSocket = (onread) => {
    // Parsed once: a system bundle holds 150 certificates.
    secureContext ??= createSecureContext({
      ...(caPem !== undefined && { ca: caPem }),
      ...lane.certificate,
    });
    // Who comes back to a session is not looked at again.
    const kept: object = checks ?? (session === undefined ? {} : { session });
    const socket = connectTls({
      host: lane.host,
      port: lane.port,
      secureContext,
      ALPNProtocols: ['http/1.1'],
      ...(isIP(lane.host) === 0 && { servername: lane.host }),
      ...kept,
      onread,
    } as ConnectionOptions);
    socket.on('session', (ticket: Buffer) => {
      session = ticket;
    });
    return prepared(socket);
  };
  const openTcp: OpenSocket = (onread) =>
    prepared(connectTcp({ host: lane.host, port: lane.port, onread: onread as never }));

  const target = (request: RangeRequest): { path: string; query: string } => {
    const { versionId } = request.version;
    return {
      path: pathHead + encodeKey(request.key),
      query: versionId === undefined ? '' : `versionId=${encodeQueryValue(versionId)}`,
    };
  };

  return {
    lane,
    connectedEvent: lane.tls ? 'secureConnect' : 'connect',
    open: lane.tls ? openTls : openTcp,
    get credentials() {
      return credentials;
    },
    get ready() {
      return !lane.signed || credentials !== undefined;
    },
    setCredentials(next) {
      credentials = next;
      if (next !== undefined) signer.setCredentials(next);
    },
    setClockOffset: (milliseconds) => signer.setClockOffset(milliseconds),
    compose(request) {
      const { path, query } = target(request);
      const { etag } = request.version;
      const end = request.offset + request.length - 1;
      const whole = asksWhole(request);
      return (
        `GET ${path}${query === '' ? '' : `?${query}`} HTTP/1.1\r\n${fixedLines}` +
        (whole ? '' : `Range: bytes=${request.offset}-${end}\r\n`) +
        (etag === '' ? '' : `If-Match: "${etag}"\r\n`) +
        `${lane.signed ? signer.sign(path, query, { checksums: whole }) : whole ? checksumModeLine : ''}\r\n`
      );
    },
  };
}

function tokenLine({ peer }: S3LaneOrigin): string {
  if (peer?.bearerToken === undefined) return '';
  if (!isHeaderSafe(peer.bearerToken)) throw new TypeError('the token has a character that no header may carry');
  return `Authorization: Bearer ${peer.bearerToken}\r\n`;
}

function prepared(socket: Socket): Socket {
  socket.setNoDelay(true); // a request is one small segment, and nothing follows it
  return socket;
}
