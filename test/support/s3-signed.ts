/** Requests as an S3 client signs them, over a raw target: what is wrong with one is wrong on purpose. */
import { createHash } from 'node:crypto';
import { deriveKey, encodeRfc3986, signatureV4 } from '../../src/server/s3/signing.ts';
import { type RawAnswer, rawRequest } from './raw-http.ts';

export interface Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export interface S3Request {
  readonly method: string;
  /** Path and query as they are sent. */
  readonly target: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signing?: {
    /** By default a header; `link`: in the query; `none`. */
    readonly as?: 'header' | 'link' | 'none';
    readonly keys?: Partial<Keys>;
    /** What the clock of the client is ahead. */
    readonly aheadMs?: number;
    readonly expiresS?: number | string;
    /** What `spoil` does, in words. */
    readonly fault?: string;
    /** Changes the signed request before it is sent. */
    readonly spoil?: (sent: { target: string; headers: Record<string, string> }) => void;
  };
}

const emptyHash = createHash('sha256').digest('hex');

/** Signs for this port and sends. */
export async function askS3(port: number, request: S3Request, keys: Keys): Promise<RawAnswer> {
  const { method, signing = {} } = request;
  const host = `127.0.0.1:${port}`;
  const sent = { target: request.target, headers: { host, ...request.headers } as Record<string, string> };
  const { as = 'header', aheadMs = 0, expiresS = 300 } = signing;
  if (as !== 'none') {
    const who = { ...keys, ...signing.keys };
    const amzDate = new Date(Date.now() + aheadMs).toISOString().replaceAll(/[-:]|\.\d+/g, '');
    const scope = `${amzDate.slice(0, 8)}/us-east-1/s3/aws4_request`;
    const key = deriveKey(who.secretAccessKey, scope);
    if (as === 'header') Object.assign(sent.headers, { 'x-amz-date': amzDate, 'x-amz-content-sha256': emptyHash });
    const signedHeaders = ['host', ...Object.keys(sent.headers).filter((name) => name.startsWith('x-amz-'))].sort();
    if (as === 'link') {
      const credential = encodeRfc3986(`${who.accessKeyId}/${scope}`);
      sent.target += `${sent.target.includes('?') ? '&' : '?'}X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${credential}&X-Amz-Date=${amzDate}&X-Amz-Expires=${expiresS}&X-Amz-SignedHeaders=${signedHeaders.join('%3B')}`;
    }
    const [rawPath = '', rawQuery = ''] = sent.target.split('?', 2);
    const payloadHash = as === 'header' ? emptyHash : 'UNSIGNED-PAYLOAD';
    const facts = { signedHeaders, scope, key, amzDate, payloadHash };
    const signature = signatureV4({ method, rawPath, rawQuery, headers: sent.headers }, facts).toString('hex');
    if (as === 'link') sent.target += `&X-Amz-Signature=${signature}`;
    else
      sent.headers.authorization = `AWS4-HMAC-SHA256 Credential=${who.accessKeyId}/${scope}, SignedHeaders=${signedHeaders.join(';')}, Signature=${signature}`;
  }
  signing.spoil?.(sent);
  return rawRequest(port, sent.target, { method, headers: sent.headers });
}
