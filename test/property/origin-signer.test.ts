/** Our signer against the SDK's, over random keys, queries, credentials and times. */
import { Sha256 } from '@aws-crypto/sha256-js';
import { SignatureV4 } from '@smithy/signature-v4';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { emptySha256, encodeKey, encodeQueryValue, makeSigner } from '../../src/origin/signer.ts';

const wellFormed = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 });
const header = fc.string({ unit: fc.constantFrom(...'ABCxyz019+/=_-'), minLength: 1, maxLength: 60 });

function headersOf(lines: string): Record<string, string> {
  return Object.fromEntries(
    lines
      .split('\r\n')
      .slice(0, -1)
      .map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 2)]),
  );
}

test('the signature is the one that the SDK makes', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        key: wellFormed,
        versionId: fc.option(wellFormed, { nil: undefined }),
        accessKeyId: header,
        secretAccessKey: fc.oneof(header, wellFormed),
        sessionToken: fc.option(header, { nil: undefined }),
        checksums: fc.boolean(),
        method: fc.constantFrom('GET' as const, 'HEAD' as const),
        region: fc.constantFrom('us-east-1', 'eu-central-1', 'garage', ''),
        times: fc.array(fc.date({ min: new Date('2001-01-01'), max: new Date('2090-01-01'), noInvalidDate: true }), {
          minLength: 1,
          maxLength: 3,
        }),
      }),
      async ({ key, versionId, region, times, sessionToken, checksums, method, ...keys }) => {
        const credentials = { ...keys, ...(sessionToken !== undefined && { sessionToken }) };
        const hostname = 'bucket.example.com:8080';
        let now = 0;
        const signer = makeSigner({ region, hostHeader: hostname, wallMs: () => now });
        signer.setCredentials(credentials);
        const path = `/${encodeKey(key)}`;
        const oracle = new SignatureV4({
          credentials,
          region,
          service: 's3',
          sha256: Sha256,
          uriEscapePath: false,
          applyChecksum: false,
        });
        for (const time of times) {
          now = time.getTime();
          const query = versionId === undefined ? '' : `versionId=${encodeQueryValue(versionId)}`;
          const lines = signer.sign(path, query, { checksums, method });
          const mode = checksums ? { 'x-amz-checksum-mode': 'ENABLED' } : undefined;
          const wanted = (await oracle.sign(
            {
              method,
              protocol: 'http:',
              hostname,
              path,
              headers: { host: hostname, 'x-amz-content-sha256': emptySha256, ...mode },
              ...(versionId !== undefined && { query: { versionId } }),
            } as never,
            { signingDate: time },
          )) as unknown as { headers: Record<string, string> };
          const ours = headersOf(lines);
          expect(ours.authorization).toBe(wanted.headers.authorization);
          expect(ours['x-amz-checksum-mode']).toBe(mode?.['x-amz-checksum-mode']);
          expect(ours['x-amz-date']).toBe(wanted.headers['x-amz-date']);
          expect(ours['x-amz-security-token']).toBe(wanted.headers['x-amz-security-token']);
        }
      },
    ),
    { numRuns: 300 },
  );
});

test('a key is encoded as RFC 3986 says, with slashes kept', () => {
  fc.assert(
    fc.property(wellFormed, (key) => {
      const byPlatform = key
        .split('/')
        .map((part) =>
          encodeURIComponent(part).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`),
        )
        .join('/');
      expect(encodeKey(key)).toBe(byPlatform);
      expect(decodeURIComponent(encodeKey(key))).toBe(key);
    }),
    { numRuns: 500 },
  );
});

test('credentials that would break out of their header line are refused', () => {
  const signer = makeSigner({ region: 'r', hostHeader: 'h' });
  expect(() => signer.setCredentials({ accessKeyId: 'a\r\nX: y', secretAccessKey: 's' })).toThrow(TypeError);
});
