/**
 * The general way: the AWS SDK fetches a range whose answer the hot path could not read (chunked, redirected, HTTP/1.0,
 * an odd head). It costs ten times the CPU, and it is tried once: what it cannot read either is a failure. The SDK is
 * loaded when it is first needed, because a lane that never meets such an origin should not carry it.
 */

import { setTimeout as delay } from 'node:timers/promises';
import type {
  GetObjectCommand as GetObject,
  GetObjectCommandOutput,
  S3Client,
  S3ClientConfig,
} from '@aws-sdk/client-s3';
import { hastyMs } from '../core/silence.ts';
import { asksWhole, bareEtag } from './answer.ts';
import type { Exchange } from './connection.ts';
import type { S3Origin } from './lane-origin.ts';
import { attributesOfOutput } from './sdk-attributes.ts';
import { failureOfSdk } from './sdk-failure.ts';
import type { Admit, Grant, OriginFailure, OriginTimeouts } from './types.ts';

export interface GeneralWay {
  /** Resolves when nothing will be written to the destination any more. Abort ends it as `cancelled`. */
  fetch(origin: S3Origin, exchange: Exchange, signal: AbortSignal): Promise<OriginFailure | undefined>;
  /** The next one is made with the timeouts of then. */
  forgetClients(): void;
  close(): Promise<void>;
}

export function makeGeneralWay(options: {
  timeouts: OriginTimeouts;
  grant: Grant | undefined;
  admit: Admit | undefined;
  paceRetryMs: number;
}): GeneralWay {
  const clients = new Map<S3Origin, Promise<S3Client>>();
  const { timeouts, grant, admit, paceRetryMs } = options;

  const clientOf = (origin: S3Origin): Promise<S3Client> => {
    let client = clients.get(origin);
    if (client === undefined) {
      client = makeClient(origin, timeouts);
      clients.set(origin, client);
    }
    return client;
  };

  /** Waits until `grant` allows something; how many bytes that is. */
  const granted = async (
    exchange: Exchange,
    wanted: number,
    touch: () => void,
    signal: AbortSignal,
  ): Promise<number> => {
    if (grant === undefined) return wanted;
    for (;;) {
      const allowed = Math.min(wanted, grant(exchange.request, wanted));
      exchange.paced = allowed > 0 ? undefined : 'bandwidth';
      if (allowed > 0) return allowed;
      await delay(paceRetryMs, undefined, { signal });
      touch();
    }
  };

  /** Resolves when one more request may go out. */
  const admitted = async (exchange: Exchange, signal: AbortSignal): Promise<void> => {
    while (admit?.(exchange.request) === false) {
      exchange.paced = 'requests';
      await delay(paceRetryMs, undefined, { signal });
    }
    exchange.paced = undefined;
  };

  /** Copies the stream into place; stalls and stops end it through `abort`. */
  const receive = async (
    body: AsyncIterable<Uint8Array>,
    exchange: Exchange,
    touch: () => void,
    signal: AbortSignal,
  ): Promise<OriginFailure | undefined> => {
    const { destination, request, onBytes } = exchange;
    for await (const chunk of body) {
      touch();
      if (exchange.firstByteAtMs === 0) exchange.firstByteAtMs = performance.now();
      let from = 0;
      while (from < chunk.length) {
        const at = exchange.receivedBytes;
        if (at + chunk.length - from > request.length)
          return { cause: 'range', message: `the body is longer than ${request.length} B` };
        const count = await granted(exchange, chunk.length - from, touch, signal);
        destination.set(chunk.subarray(from, from + count), at); // the general way copies: 0.1 s a GiB
        exchange.receivedBytes = at + count;
        from += count;
        onBytes(at, count);
        if (signal.aborted) return cancelled;
      }
    }
    if (exchange.receivedBytes === request.length) return undefined;
    return { cause: 'short', message: `the body ended after ${exchange.receivedBytes} of ${request.length} B` };
  };

  return {
    async fetch(origin, exchange, signal) {
      const { request } = exchange;
      const limit = new AbortController();
      await admitted(exchange, signal).catch(() => undefined);
      if (signal.aborted) return cancelled;
      let limitCause: OriginFailure = { cause: 'first-byte-timeout', message: 'no answer within the time limit' };
      const limitOf = (timeoutMs: number): number => (request.hasty === true ? hastyMs(timeoutMs) : timeoutMs);
      let timer = setTimeout(() => limit.abort(), timeouts.connectMs + limitOf(timeouts.firstByteMs));
      const touch = (): void => {
        clearTimeout(timer);
        limitCause = { cause: 'stall', message: `the answer stopped after ${exchange.receivedBytes} B` };
        timer = setTimeout(() => limit.abort(), limitOf(timeouts.stallMs));
      };
      const abortSignal = AbortSignal.any([signal, limit.signal]);
      try {
        const [client, { GetObjectCommand }] = await Promise.all([clientOf(origin), import('./general-sdk.ts')]);
        const { etag, versionId } = request.version;
        const whole = asksWhole(request);
        const command = (location?: URL): GetObject => {
          const get = new GetObjectCommand({
            Bucket: origin.lane.bucket,
            Key: request.key,
            ...(!whole && { Range: `bytes=${request.offset}-${request.offset + request.length - 1}` }),
            ...(etag !== '' && { IfMatch: `"${etag}"` }),
            ...(versionId !== undefined && { VersionId: versionId }),
          });
          if (location !== undefined) sendTo(get, location);
          return get;
        };
        const output = await client.send(command(), { abortSignal }).catch(async (error: unknown) => {
          const location = redirectOf(error, origin);
          if (location === undefined) throw error;
          await admitted(exchange, abortSignal);
          return client.send(command(location), { abortSignal });
        });
        const wrong = judgeOutput(output, exchange);
        const body = output.Body as unknown as AsyncIterable<Uint8Array> & { destroy(): void };
        if (wrong !== undefined) {
          body.destroy();
          return wrong;
        }
        exchange.attributes = attributesOfOutput(output);
        exchange.httpStatus = output.$metadata.httpStatusCode;
        exchange.requestId = output.$metadata.requestId;
        touch();
        const onAbort = (): void => body.destroy();
        abortSignal.addEventListener('abort', onAbort, { once: true });
        try {
          return await receive(body, exchange, touch, abortSignal);
        } finally {
          abortSignal.removeEventListener('abort', onAbort);
          body.destroy();
        }
      } catch (error) {
        if (signal.aborted) return cancelled;
        return limit.signal.aborted ? limitCause : failureOfSdk(error);
      } finally {
        clearTimeout(timer);
      }
    },
    forgetClients() {
      clients.clear();
    },
    async close() {
      for (const client of clients.values()) await client.then((c) => c.destroy()).catch(() => undefined);
      clients.clear();
    },
  };
}

const cancelled: OriginFailure = { cause: 'cancelled', message: 'the run was stopped' };

/**
 * Where a temporary redirect leads: the SDK follows redirects between regions only (301), while Amazon sends 307 for
 * buckets that are new to its DNS. Followed once, never from TLS to plain HTTP.
 */
function redirectOf(error: unknown, origin: S3Origin): URL | undefined {
  const { $response } = error as { $response?: { statusCode?: number; headers?: Record<string, string> } };
  const location = $response?.headers?.location;
  if (location === undefined || ![302, 307, 308].includes($response?.statusCode ?? 0)) return undefined;
  const base = `${origin.lane.tls ? 'https' : 'http'}://${origin.lane.hostHeader}/`;
  if (!URL.canParse(location, base)) return undefined;
  const url = new URL(location, base);
  return url.protocol === 'https:' || (url.protocol === 'http:' && !origin.lane.tls) ? url : undefined;
}

interface Sendable {
  protocol: string;
  hostname: string;
  port?: number | undefined;
  path: string;
  query: Record<string, string>;
}

/** Before the host header and the signature are made, so that both are right for the new place. */
function sendTo(command: GetObject, location: URL): void {
  command.middlewareStack.add(
    (next) => (args) => {
      const sent = args.request as Sendable;
      sent.protocol = location.protocol;
      sent.hostname = location.hostname;
      sent.port = location.port === '' ? undefined : Number(location.port);
      sent.path = location.pathname;
      sent.query = Object.fromEntries(location.searchParams);
      return next(args);
    },
    { step: 'build', priority: 'high', name: 'primedFollowsRedirect' },
  );
}

function judgeOutput(output: GetObjectCommandOutput, { request }: Exchange): OriginFailure | undefined {
  const { etag, sizeBytes } = request.version;
  if (etag !== '') {
    if (output.ETag === undefined) return { cause: 'protocol', message: 'the answer has no ETag' };
    if (bareEtag(output.ETag) !== etag)
      return { cause: 'changed', message: `the object changed: ETag ${output.ETag} in place of "${etag}"` };
  }
  if (asksWhole(request)) {
    if (output.ContentRange !== undefined)
      return { cause: 'range', message: `a partial answer (${output.ContentRange}) to a request for the whole object` };
  } else {
    const found = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(output.ContentRange ?? '');
    const lastByte = request.offset + request.length - 1;
    if (found === null || Number(found[1]) !== request.offset || Number(found[2]) !== lastByte) {
      return {
        cause: 'range',
        message: `Content-Range is ${output.ContentRange ?? 'missing'} in place of bytes ${request.offset}-${lastByte}`,
      };
    }
    if (found[3] !== '*' && Number(found[3]) !== sizeBytes)
      return { cause: 'changed', message: `the object has ${found[3]} B in place of ${sizeBytes} B` };
  }
  if (output.ContentLength !== undefined && output.ContentLength !== request.length) {
    return { cause: 'range', message: `${output.ContentLength} B announced in place of ${request.length} B` };
  }
  return undefined;
}

async function makeClient(origin: S3Origin, timeouts: OriginTimeouts): Promise<S3Client> {
  const { S3Client } = await import('./general-sdk.ts');
  const { lane } = origin;
  const config: S3ClientConfig = {
    region: lane.region,
    forcePathStyle: lane.forcePathStyle,
    followRegionRedirects: true,
    maxAttempts: 1, // the caller decides about further ones
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: timeouts.connectMs,
      ...(lane.caPem !== undefined && { httpsAgent: { ca: lane.caPem, keepAlive: true } }),
    },
    // Asked again for every request: the caller may have set newer ones meanwhile.
    credentials: () =>
      Promise.resolve({ ...(origin.credentials ?? { accessKeyId: '', secretAccessKey: '' }), expiration: new Date(0) }),
    ...(lane.endpoint !== undefined && { endpoint: lane.endpoint }),
    ...(!lane.signed && { signer: { sign: (request) => Promise.resolve(request) } }),
  };
  return new S3Client(config);
}
