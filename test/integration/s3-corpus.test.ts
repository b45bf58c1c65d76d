/**
 * The S3 port against a real S3 server: the same requests to both, which have the same objects, and the answers compared.
 * What is different on purpose is in one table, each with its reason; a difference that does not occur is a failure too.
 */
import {
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { MiB } from '../../src/core/units.ts';
import { contentAt } from '../../src/demo/origin/content.ts';
import { loaded } from '../support/api.ts';
import type { Daemon } from '../support/daemon.ts';
import { openPlace, type Place } from '../support/node.ts';
import { type RealServer, startRadosgw } from '../support/radosgw.ts';
import { difference, type Said, saidBy, tokenIn } from '../support/s3-compare.ts';
import { type CorpusCase, corpusBucket, corpusCases, corpusObjects } from '../support/s3-corpus.ts';
import { askS3, type Keys } from '../support/s3-signed.ts';

let server: RealServer;
let place: Place;
let daemon: Daemon;
let referencePort: number;
let keys: Keys;
let facts: { etag: string; lastModifiedMs: number };

beforeAll(async () => {
  server = await startRadosgw();
  keys = { accessKeyId: server.env.AWS_ACCESS_KEY_ID!, secretAccessKey: server.env.AWS_SECRET_ACCESS_KEY! };
  referencePort = Number(new URL(server.endpoint).port);
  facts = await fill(server.endpoint, keys);
  place = openPlace('s3-corpus');
  const key = `[[s3.key]]\naccess_key_id = "${keys.accessKeyId}"\nsecret_access_key = "${keys.secretAccessKey}"\n`;
  daemon = await place.start(key, { env: server.env });
  await loaded(daemon.api, `s3://${corpusBucket}/`);
});
afterAll(async () => {
  await place?.close();
  await server?.close();
});

async function fill(endpoint: string, credentials: Keys): Promise<typeof facts> {
  const client = new S3Client({
    endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials,
    requestChecksumCalculation: 'WHEN_REQUIRED',
  });
  const Bucket = corpusBucket;
  await client.send(new CreateBucketCommand({ Bucket }));
  for (const { key: Key, sizeBytes, more = {}, multipart } of corpusObjects) {
    const Body = contentAt(Key, 1, 0, sizeBytes);
    if (multipart === undefined) {
      await client.send(new PutObjectCommand({ Bucket, Key, Body, ...more }));
      continue;
    }
    const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key, ...more }));
    const Parts = [];
    for (let at = 0, PartNumber = 1; at < sizeBytes; at += 5 * MiB, PartNumber += 1) {
      const piece = Body.subarray(at, at + 5 * MiB);
      const { ETag } = await client.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body: piece }));
      Parts.push({ PartNumber, ETag });
    }
    await client.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }));
  }
  const { ETag, LastModified } = await client.send(new HeadObjectCommand({ Bucket, Key: 'text' }));
  client.destroy();
  return { etag: ETag!.slice(1, -1), lastModifiedMs: LastModified!.getTime() };
}

/**
 * What is different on purpose: in which requests, in what way, and why. "RFC" is RFC 9110; what Amazon does is what its API
 * reference says. docs/S3.md has the same list in the words of users.
 */
const justified: readonly { readonly request: RegExp; readonly way: RegExp; readonly why: string }[] = [
  {
    request: /\| range: bytes=-0$/,
    way: /^status 206 -> 416/,
    why: 'no bytes from the end: a range that cannot be satisfied (RFC 14.1.2)',
  },
  {
    request: /\| range: (bytes=(5-4|abc|-|0x1-5|0-1,4-5)?|bits=0-1|bytes 0-1|0-5)$/,
    way: /^status (206|416) -> 200|^content-range .* -> none$/,
    why: 'what is not one range of bytes is ignored (RFC 14.2), as by Amazon: the whole object, and no Content-Range with 200',
  },
  {
    request: /\| range: bytes=2-5 \| if-range: ("other"|nonsense|[A-Z].*)$/,
    way: /^status 206 -> 200/,
    why: 'If-Range is honoured: another version is sent whole (RFC 13.1.5)',
  },
  { request: /\| if-match: (\*|"other", ".*")$/, way: /^status 412 -> 200/, why: 'lists of tags and * (RFC 13.1.1)' },
  {
    request: /\| if-none-match: (\*|"other", ".*")$/,
    way: /^status 200 -> 304/,
    why: 'lists of tags and * (RFC 13.1.2)',
  },
  {
    request: /\/empty \| if-none-match: \* \| range: bytes=0-0$/,
    way: /^status 416 -> 304/,
    why: 'conditions come before the range (RFC 13.2.2)',
  },
  {
    request: /\| if-(un)?modified-since: yesterday$/,
    way: /^status 400 -> 200/,
    why: 'what is no date is ignored (RFC 13.1.3)',
  },
  {
    request: /\| if-match: "other" \| if-modified-since: /,
    way: /^status 304 -> 412/,
    why: 'If-Match comes before If-Modified-Since (RFC 13.2.2)',
  },
  {
    request: /\/k+….* ?/,
    way: /^body.error "InvalidObjectName" -> "KeyTooLongError"$/,
    why: 'KeyTooLongError is the code of Amazon',
  },
  {
    request: /\?response-content-type=?$/,
    way: /^content-type "" -> "text\/plain; charset=utf-8"$/,
    why: 'an override without a value overrides nothing',
  },
  {
    request: /\?partNumber=/,
    way: /^status (200 -> (206|400|416)|206 -> 400)/,
    why: 'this reference does not know partNumber; Amazon answers 206 for the only part, 416 for one that is not there, 400 for one and a range. Where parts begin is not known here',
  },
  {
    request: /\?versionId=bogus$/,
    way: /^body.error "NoSuchKey" -> "NoSuchVersion"$/,
    why: 'the key is there, the version is not',
  },
  {
    request: /\?location$/,
    way: /^body.LocationConstraint "default" -> ""$/,
    why: 'no constraint is us-east-1, which every client signs with',
  },
  {
    request: /(marker|start-after)=list%2F(05|deep%2F1%2F)&delimiter=%2F$|delimiter=\/&start-after=list\/deep\/1\/3$/,
    way: /CommonPrefixes/,
    why: 'a group is listed as long as a key of it lies behind the place where the listing begins; this reference skips it',
  },
  {
    request: /max-keys=(2147483648|-1|%2B3|%203)$/,
    way: /^status 200 -> 400/,
    why: 'Amazon takes numbers from 0 to 2147483647 and nothing that is not one',
  },
  { request: /(encoding-type=xml|list-type=3)$/, way: /^status 200 -> 400/, why: 'values that there are not' },
  {
    request: /&continuation-token=$/,
    way: /^body.ListBucketResult.ContinuationToken "something" -> none$/,
    why: 'a parameter without a value counts as absent',
  },
  {
    request: /\/no-such-bucket\/key \| \{"as":"none"/,
    way: /^status 404 -> 403; body.error "NoSuchBucket" -> "AccessDenied"$/,
    why: 'who does not sign is not told which buckets there are',
  },
  {
    request: /"as":"link",("expiresS":(0|-1|604801|"x")|"fault":"no (signature|date)")/,
    way: /^status 403 -> 400; body.error "AccessDenied" -> "AuthorizationQueryParametersError"$/,
    why: 'the code of Amazon for a link whose parameters are wrong',
  },
  {
    request: /"as":"link","aheadMs":1800000/,
    way: /^status 200 -> 403/,
    why: 'a link that is not valid yet is refused by Amazon',
  },
  {
    request: /"fault":"no hash"/,
    way: /"SignatureDoesNotMatch" -> "InvalidRequest"$/,
    why: 'Amazon names the header that is missing',
  },
  {
    request: /"fault":"nonsense"/,
    way: /^body.error "InvalidArgument" -> "AuthorizationHeaderMalformed"$/,
    why: 'the code of Amazon',
  },
  {
    request: /"fault":"version 2"/,
    way: /"InvalidAccessKeyId" -> "InvalidRequest"$/,
    why: 'signatures of Version 2 in a header are not taken, as by Amazon in newer regions',
  },
  {
    request: /"fault":"host alone signed"/,
    way: /^body.error "SignatureDoesNotMatch" -> "AccessDenied"$/,
    why: 'Amazon says that headers are there which were not signed',
  },
];

const atOnce = 8;

it('answers as a real S3 server does, but for what is justified', async () => {
  const all = corpusCases(facts);
  const unexplained: string[] = [];
  const seen = new Set<RegExp>();
  const put = async (one: CorpusCase): Promise<void> => {
    const [theirs, ours] = await Promise.all([askS3(referencePort, one, keys), askS3(daemon.ports.s3, one, keys)]);
    const different = difference(saidBy(theirs, one.method), saidBy(ours, one.method));
    if (different === '') return;
    const row = justified.find(({ request, way }) => request.test(one.name) && way.test(different));
    if (row === undefined) unexplained.push(`${one.name} ::: ${different}`);
    else seen.add(row.request);
  };
  for (let at = 0; at < all.length; at += atOnce) await Promise.all(all.slice(at, at + atOnce).map(put));
  expect(unexplained).toEqual([]);
  // A row that explains nothing is wrong, or the request that it is about is not made.
  expect(justified.filter(({ request }) => !seen.has(request)).map(({ why }) => why)).toEqual([]);
});

it.each([
  ['list-type=2', '', '', 7],
  ['list-type=2', '', '/', 3],
  ['list-type=2', 'list/', '/', 1],
  ['list-type=2&encoding-type=url', 'a', '/', 1],
  ['', '', '', 9],
  ['', '', '/', 2],
  ['', 'list/', 'e', 4],
])(
  'the pages of ?%s prefix=%s delimiter=%s, %i at a time, are the same to the end',
  async (kind, prefix, delimiter, size) => {
    const walk = async (port: number): Promise<Said[]> => {
      const pages: Said[] = [];
      for (let from = ''; pages.length < 80; ) {
        const target = `/${corpusBucket}?${kind}&prefix=${encodeURIComponent(prefix)}&delimiter=${encodeURIComponent(delimiter)}&max-keys=${size}${from}`;
        const answer = await askS3(port, { method: 'GET', target }, keys);
        const page = saidBy(answer, 'GET');
        pages.push(page);
        const list = (page.body as { ListBucketResult: Record<string, string> }).ListBucketResult;
        if (list.IsTruncated !== 'true') return pages;
        const token = tokenIn(answer);
        from =
          token === undefined
            ? `&marker=${encodeURIComponent(list.NextMarker ?? keysIn(list).at(-1)!)}`
            : `&continuation-token=${encodeURIComponent(token)}`;
      }
      throw new Error('the listing does not end');
    };
    const [theirs, ours] = [await walk(referencePort), await walk(daemon.ports.s3)];
    expect(ours.length).toBeGreaterThan(1);
    expect(difference(theirs, ours)).toBe('');
  },
);

function keysIn({ Contents }: Record<string, unknown>): string[] {
  return (Contents as { Key: string }[]).map(({ Key }) => Key);
}
