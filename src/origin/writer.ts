/**
 * Writes that clients send through us to one bucket: signed anew, and sent on as they come, with as much of a body in memory as is
 * on its way.
 *
 * The origin learns the whole length at the beginning. So where the body ends early, by whatever cause, the connection is cut, and the
 * origin has a body that is not whole: it makes nothing of it.
 */
import type { Readable } from 'node:stream';
import { HttpRequest } from '@smithy/core/protocols';
import { Pool } from 'undici';
import type { PassedAnswer, PassedWrite } from '../core/passed-write.ts';
import type { UfsPath } from '../core/types.ts';
import type { Bucket } from './aws.ts';
import { errorOfFailure } from './failure.ts';
import { operationOfMethod, type RequestWatch, watchedRequest } from './request-watch.ts';
import { originError } from './s3-control.ts';
import { encodeKey, encodeQueryValue } from './signer.ts';
import { trailed, trailedLength, trailingHeaders, trailingSha256 } from './trailing.ts';
import type { OriginTimeouts } from './types.ts';

/** Writes at once on one bucket; more wait. */
const connectionsMax = 64;
/** Of a large copy, or of an upload of many parts, servers say nothing until it is done. */
const answerLimitMs = 300_000;

export interface BucketWriter {
  /** See WritableOrigins. */
  send(path: UfsPath, key: string, write: PassedWrite): Promise<PassedAnswer>;
  close(): Promise<void>;
}

export function makeBucketWriter(
  { client, endpoint }: Bucket,
  { timeouts, watch }: { timeouts: OriginTimeouts; watch?: RequestWatch | undefined },
): BucketWriter {
  const protocol = endpoint.tls ? 'https:' : 'http:';
  const hostname = endpoint.host.includes(':') ? `[${endpoint.host}]` : endpoint.host;
  const pool = new Pool(`${protocol}//${hostname}:${endpoint.port}`, {
    connections: connectionsMax,
    pipelining: 1,
    headersTimeout: answerLimitMs,
    bodyTimeout: timeouts.stallMs,
    connect: { timeout: timeouts.connectMs, ...(endpoint.caPem !== undefined && { ca: endpoint.caPem }) },
  });

  const signed = async (path: string, write: PassedWrite): Promise<HttpRequest> => {
    const { method, query, headers, length, trailer, sha256 = 'UNSIGNED-PAYLOAD' } = write;
    const signer = await client.config.signer();
    return (await signer.sign(
      new HttpRequest({
        ...{ method, protocol, hostname: endpoint.host, port: endpoint.port, path, query: { ...query } },
        headers: {
          ...(trailer === undefined ? headers : trailingHeaders(headers, length, trailer)),
          host: endpoint.hostHeader,
          'x-amz-content-sha256': trailer === undefined ? sha256 : trailingSha256,
        },
      }),
    )) as HttpRequest;
  };

  return {
    async send(path, key, write) {
      const { trailer } = write;
      const length = trailer === undefined ? write.length : trailedLength(write.length, trailer);
      let thrown: unknown;
      /** What the body throws is what is wrong, whatever becomes of the connection by it. */
      const body = async function* (): AsyncGenerator<Uint8Array> {
        try {
          yield* trailer === undefined ? write.body : trailed(write.body, write.length, trailer);
        } catch (error) {
          thrown = error;
          throw error;
        }
      };
      try {
        // Whatever is wrong with no bytes at all must be known before there is a request, which is whole at once.
        if (length === 0) for await (const _ of body());
        const target = key === '' ? endpoint.pathPrefix || '/' : `${endpoint.pathPrefix}/${encodeKey(key)}`;
        const request = await signed(target, write);
        const search = Object.entries(write.query).map(([name, value]) =>
          value === '' ? name : `${name}=${encodeQueryValue(value)}`,
        );
        const send = () =>
          pool.request({
            method: write.method as 'PUT',
            path: search.length === 0 ? target : `${target}?${search.join('&')}`,
            headers: length === 0 ? request.headers : { ...request.headers, 'content-length': String(length) },
            // It takes what can be iterated, and does not say so.
            body: length === 0 ? null : (body() as unknown as Readable),
            signal: write.signal,
          });
        const answer = await watchedRequest(watch, operationOfMethod(write.method), {
          send,
          statusOf: ({ statusCode }) => statusCode,
          isOurs: () => thrown !== undefined || write.signal.aborted,
        });
        return { status: answer.statusCode, headers: answer.headers, body: answer.body };
      } catch (error) {
        if (thrown !== undefined) throw thrown;
        write.signal.throwIfAborted();
        throw isOfUndici(error) ? unreachable(error, path) : originError(error, path);
      }
    },
    close: () => pool.destroy(),
  };
}

function isOfUndici(error: unknown): error is Error {
  return error instanceof Error && ('code' in error || 'errno' in error);
}

/** Whether anything has become of it nobody knows. */
function unreachable(error: Error, path: UfsPath): Error {
  const message = `the write was not answered: ${error.message || (error as NodeJS.ErrnoException).code}`;
  return errorOfFailure({ cause: 'reset', message }, path, { cause: error });
}
