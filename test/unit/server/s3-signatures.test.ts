/** Signatures, by the examples of S3's reference and by the SDK's own signer. */
import { Sha256 } from '@aws-crypto/sha256-js';
import { SignatureV4 } from '@smithy/signature-v4';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type S3Credentials, SignatureJudge } from '../../../src/server/s3/signature.ts';
import type { SignedRequest } from '../../../src/server/s3/signing.ts';

const example = {
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
};
const judge = new SignatureJudge([example]);
const exampleDay = Date.UTC(2013, 4, 24);
const emptyHash = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

function codeOf(request: SignedRequest, nowMs: number, resource?: string): string {
  const judgement = judge.judge(request, nowMs, resource);
  return judgement.kind === 'refused' ? judgement.refusal.code : judgement.kind;
}

const byHeader: SignedRequest = {
  method: 'GET',
  rawPath: '/test.txt',
  rawQuery: '',
  headers: {
    host: 'examplebucket.s3.amazonaws.com',
    range: 'bytes=0-9',
    'x-amz-content-sha256': emptyHash,
    'x-amz-date': '20130524T000000Z',
    authorization:
      'AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
  },
};
const link: SignedRequest = {
  method: 'GET',
  rawPath: '/test.txt',
  rawQuery:
    'X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404',
  headers: { host: 'examplebucket.s3.amazonaws.com' },
};
const oldLink: SignedRequest = {
  method: 'GET',
  rawPath: '/photos/puppy.jpg',
  rawQuery: 'AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620',
  headers: { host: 'johnsmith.s3.amazonaws.com' },
};
const oldResource = '/johnsmith/photos/puppy.jpg';

describe("the examples of S3's reference", () => {
  test('a header of Version 4', () => {
    expect(codeOf(byHeader, exampleDay)).toBe('signed');
    expect(codeOf({ ...byHeader, rawPath: '/test.tx' }, exampleDay)).toBe('SignatureDoesNotMatch');
    expect(codeOf({ ...byHeader, headers: { ...byHeader.headers, range: 'bytes=0-8' } }, exampleDay)).toBe(
      'SignatureDoesNotMatch',
    );
    expect(codeOf(byHeader, exampleDay + 15 * 60_000 + 1)).toBe('RequestTimeTooSkewed');
    const extra = { ...byHeader, headers: { ...byHeader.headers, 'x-amz-meta-a': '1' } };
    expect(codeOf(extra, exampleDay)).toBe('AccessDenied');
  });

  test('a presigned link of Version 4', () => {
    expect(codeOf(link, exampleDay)).toBe('signed');
    expect(codeOf(link, exampleDay + 86_400_000)).toBe('signed');
    expect(codeOf(link, exampleDay + 86_400_001)).toBe('AccessDenied');
    expect(codeOf(link, exampleDay - 15 * 60_000 - 1)).toBe('AccessDenied');
    expect(codeOf({ ...link, method: 'HEAD' }, exampleDay)).toBe('SignatureDoesNotMatch');
    const change = (from: string, to: string) => ({ ...link, rawQuery: link.rawQuery.replace(from, to) });
    expect(codeOf(change('Expires=86400', 'Expires=86401'), exampleDay)).toBe('SignatureDoesNotMatch');
    expect(codeOf(change('Expires=86400', 'Expires=604801'), exampleDay)).toBe('AuthorizationQueryParametersError');
    expect(codeOf(change('&X-Amz-Date=20130524T000000Z', ''), exampleDay)).toBe('AuthorizationQueryParametersError');
    expect(codeOf(change('AKIAIOSFODNN7EXAMPLE', 'AKIDANOTHER'), exampleDay)).toBe('InvalidAccessKeyId');
  });

  test('a presigned link of Version 2', () => {
    const before = 1_175_139_000_000;
    expect(codeOf(oldLink, before, oldResource)).toBe('signed');
    expect(codeOf(oldLink, 1_175_139_620_001, oldResource)).toBe('AccessDenied');
    expect(codeOf(oldLink, before, '/johnsmith/photos/kitten.jpg')).toBe('SignatureDoesNotMatch');
    expect(codeOf({ ...oldLink, rawQuery: `${oldLink.rawQuery}&versionId=1` }, before, oldResource)).toBe(
      'SignatureDoesNotMatch',
    );
    expect(codeOf({ ...oldLink, rawQuery: oldLink.rawQuery.replace('1175139620', 'soon') }, before, oldResource)).toBe(
      'AccessDenied',
    );
  });

  test('nothing at all is unsigned, and what is no signature says so', () => {
    expect(codeOf({ ...byHeader, headers: { host: 'x' } }, exampleDay)).toBe('unsigned');
    const coded = (authorization: string) => codeOf({ ...byHeader, headers: { host: 'x', authorization } }, exampleDay);
    expect(coded('AWS4-HMAC-SHA256 Credential=AKIA')).toBe('AuthorizationHeaderMalformed');
    expect(coded('AWS AKIA:abc')).toBe('InvalidRequest');
    expect(coded('Bearer abc')).toBe('InvalidArgument');
  });
});

test("the SDK's signer is believed, in headers and in links, whatever the key of the object; another secret is not", async () => {
  const credentialsOf = (secret: string): S3Credentials => ({ accessKeyId: 'KEY', secretAccessKey: secret });
  const signerOf = (secretAccessKey: string) =>
    new SignatureV4({
      service: 's3',
      region: 'elsewhere-1',
      credentials: { accessKeyId: 'KEY', secretAccessKey },
      sha256: Sha256,
      uriEscapePath: false,
      applyChecksum: false,
    });
  const encode = (text: string) =>
    encodeURIComponent(text).replace(/[!'()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`);
  const unit = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(unit, { minLength: 1, maxLength: 4 }),
      fc.dictionary(fc.constantFrom('prefix', 'list-type', 'response-expires', 'marker'), unit),
      fc.boolean(),
      async (key, query, presigned) => {
        const path = `/${key.map(encode).join('/')}`;
        const now = new Date('2026-11-25T10:00:00Z');
        const headers = {
          host: 'localhost:1',
          'x-amz-content-sha256': 'UNSIGNED-PAYLOAD',
          ...(presigned ? {} : { 'accept-encoding': 'identity' }),
        };
        const request = { method: 'GET', protocol: 'http:', hostname: 'localhost', path, query, headers };
        const signer = signerOf('right');
        const signed = presigned
          ? await signer.presign(request, { signingDate: now, expiresIn: 60 })
          : await signer.sign(request, { signingDate: now });
        const rawQuery = Object.entries(signed.query ?? {})
          .map(([name, value]) => `${encode(name)}=${encode(String(value))}`)
          .join('&');
        const asked = { method: 'GET', rawPath: path, rawQuery, headers: signed.headers };
        const verdict = (secret: string) => new SignatureJudge([credentialsOf(secret)]).judge(asked, now.getTime());
        expect(verdict('right').kind).toBe('signed');
        expect(verdict('wrong')).toMatchObject({ kind: 'refused', refusal: { code: 'SignatureDoesNotMatch' } });
      },
    ),
    { numRuns: 200 },
  );
});
