import type { S3Credentials } from '../../server/s3/signature.ts';
import { deriveKey, signatureV4 } from '../../server/s3/signing.ts';

/**
 * The headers that make a GET acceptable to the judge above, for the probe that measures what the origin can give.
 * `host` as in the Host header.
 */
export function signGet(
  credentials: S3Credentials,
  { host, rawPath, region, nowMs }: { host: string; rawPath: string; region: string; nowMs: number },
): Record<string, string> {
  const amzDate = new Date(nowMs).toISOString().replace(/[-:]|\.\d+/g, '');
  const headers: Record<string, string> = {
    host,
    'x-amz-content-sha256': 'UNSIGNED-PAYLOAD',
    'x-amz-date': amzDate,
    ...(credentials.sessionToken === undefined ? {} : { 'x-amz-security-token': credentials.sessionToken }),
  };
  const signedHeaders = Object.keys(headers);
  const scope = `${amzDate.slice(0, 8)}/${region}/s3/aws4_request`;
  const key = deriveKey(credentials.secretAccessKey, scope);
  const request = { method: 'GET', rawPath, rawQuery: '', headers };
  const facts = { signedHeaders, scope, key, amzDate, payloadHash: 'UNSIGNED-PAYLOAD' };
  const signature = signatureV4(request, facts).toString('hex');
  const credential = `Credential=${credentials.accessKeyId}/${scope}`;
  const authorization = `AWS4-HMAC-SHA256 ${credential}, SignedHeaders=${signedHeaders.join(';')}, Signature=${signature}`;
  return { ...headers, authorization };
}
