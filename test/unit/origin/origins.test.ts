import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { PrimedError } from '../../../src/core/errors.ts';
import type { ManifestEntry, UfsPath } from '../../../src/core/types.ts';
import { openOrigins, type UfsEntry } from '../../../src/origin/origins.ts';
import type { Origins, ReadableOrigins } from '../../../src/origin/types.ts';
import { timeouts } from './raw-server.ts';

type Handler = (request: IncomingMessage, url: URL, response: ServerResponse) => void;

let server: Server;
let handle: Handler;
let asked: { method: string; url: string; authorization: string | undefined; agent: string }[];
let port: number;
const opened: Origins[] = [];
const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const p = (text: string): UfsPath => text as UfsPath;

beforeEach(async () => {
  asked = [];
  server = createServer((request, response) => {
    asked.push({
      method: request.method!,
      url: request.url!,
      authorization: request.headers.authorization,
      agent: request.headers['user-agent'] ?? '',
    });
    handle(request, new URL(request.url!, 'http://x'), response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  port = (server.address() as AddressInfo).port;
});
afterEach(async () => {
  for (const origins of opened.splice(0)) await origins.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function open(entry: Partial<UfsEntry> = {}, more: { attempts?: number } = {}): ReadableOrigins {
  const ufs = [
    {
      prefix: 's3://',
      endpoint: `http://127.0.0.1:${port}`,
      region: 'us-east-1',
      accessKeyId: 'AK',
      secretAccessKey: 'SK',
      ...entry,
    },
  ];
  const origins = openOrigins({ ufs, timeouts, retry: { attempts: more.attempts ?? 1 }, log });
  opened.push(origins);
  return origins;
}

const xmlEscape = (text: string): string => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const formEncode = (key: string): string => encodeURIComponent(key).replaceAll('%20', '+').replaceAll('%2F', '/');

/** ListObjectsV2 over these keys, two a page at most. */
function listingOf(
  keys: readonly string[],
  options: { encode?: boolean; extra?: string; tokens?: boolean } = {},
): Handler {
  const sorted = [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  return (_request, url, response) => {
    const prefix = url.searchParams.get('prefix') ?? '';
    const from = url.searchParams.get('continuation-token')?.slice(1) ?? url.searchParams.get('start-after') ?? '';
    const below = sorted.filter(
      (key) => key.startsWith(prefix) && (from === '' || Buffer.compare(Buffer.from(key), Buffer.from(from)) > 0),
    );
    const count = Math.min(2, Number(url.searchParams.get('max-keys')));
    const page = below.slice(0, count);
    const more = below.length > count;
    const encode = options.encode !== false;
    response
      .setHeader('content-type', 'application/xml')
      .end(
        `<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>` +
          `<KeyCount>${page.length}</KeyCount><IsTruncated>${more}</IsTruncated>${encode ? '<EncodingType>url</EncodingType>' : ''}` +
          (more && options.tokens !== false
            ? `<NextContinuationToken>t${xmlEscape(page.at(-1)!)}</NextContinuationToken>`
            : '') +
          (options.extra ?? '') +
          page
            .map(
              (key) =>
                `<Contents><Key>${xmlEscape(encode ? formEncode(key) : key)}</Key><LastModified>2024-05-06T07:08:09.000Z</LastModified>` +
                `<ETag>&quot;e${Buffer.from(key).length}&quot;</ETag><Size>${key.endsWith('/') ? 0 : Buffer.from(key).length}</Size>` +
                `<Owner><ID>o</ID><DisplayName>&lt;Key&gt;no&lt;/Key&gt;</DisplayName></Owner><StorageClass>STANDARD</StorageClass></Contents>`,
            )
            .join('') +
          '</ListBucketResult>\n',
      );
  };
}

async function listAll(origins: Origins, prefix: string): Promise<{ entries: ManifestEntry[]; scanned: number }> {
  const entries: ManifestEntry[] = [];
  let scanned = 0;
  let after: string | undefined;
  do {
    const page = await origins.list(p(prefix), after === undefined ? {} : { after });
    entries.push(...page.entries);
    scanned += page.scanned;
    after = page.next;
  } while (after !== undefined);
  return { entries, scanned };
}

describe('list', () => {
  const keys = ['d/a', 'd/b c+d%20', 'd/é&<>"\'', 'd/marker/', 'd/marker/x', 'd/z', 'dd', 'e'];
  const wanted = ['d/a', 'd/b c+d%20', 'd/marker/x', 'd/z', 'd/é&<>"\''].map((key) => ({
    path: `s3://b/${key}`,
    etag: `e${Buffer.from(key).length}`,
    sizeBytes: Buffer.from(key).length,
    lastModifiedMs: Date.UTC(2024, 4, 6, 7, 8, 9),
  }));

  test.each([
    ['url-encoded keys', {}, false],
    ['plain keys', { encode: false }, false],
    ['no continuation tokens', { tokens: false }, false],
    ['an answer of another shape goes to the SDK, with the same result', { extra: '<!-- hello -->' }, true],
  ])('%s', async (_, options, bySdk) => {
    handle = listingOf(keys, options);
    const found = await listAll(open(), 's3://b/d');
    expect(found.entries).toEqual(wanted);
    expect(found.scanned).toBe(6);
    expect(asked.some((request) => request.agent.includes('aws-sdk'))).toBe(bySdk);
    expect(asked.every((request) => request.authorization?.startsWith('AWS4-HMAC-SHA256 Credential=AK/'))).toBe(true);
  });

  test('goes on from the last key when the token is no longer accepted', async () => {
    const inner = listingOf(keys);
    let refusals = 0;
    handle = (request, url, response) => {
      if (url.searchParams.has('continuation-token')) {
        refusals += 1;
        response.writeHead(400).end('<Error><Code>InvalidArgument</Code><Message>token</Message></Error>');
      } else inner(request, url, response);
    };
    expect((await listAll(open(), 's3://b/d')).entries).toEqual(wanted);
    expect(refusals).toBeGreaterThan(0);
  });

  test('an empty prefix, and an anonymous bucket', async () => {
    handle = listingOf([]);
    const page = await open({
      anonymous: true,
      accessKeyId: undefined as never,
      secretAccessKey: undefined as never,
    }).list(p('s3://b'), {});
    expect(page).toEqual({ entries: [], scanned: 0 });
    expect(asked[0]!.url).toContain('prefix=');
    expect(asked[0]!.authorization).toBeUndefined();
  });

  test('an aborted signal ends it', async () => {
    const abort = new AbortController();
    handle = () => abort.abort();
    await expect(open().list(p('s3://b/'), { signal: abort.signal })).rejects.toMatchObject({ name: 'AbortError' });
  });

  test('a cut answer is never a short listing', async () => {
    const inner = listingOf(keys);
    handle = (request, url, response) => {
      const write = response.end.bind(response);
      response.end = ((text: string) => write(text.slice(0, text.indexOf('<Contents>', 400)))) as never;
      inner(request, url, response);
    };
    await expect(open().list(p('s3://b/d/'), {})).rejects.toBeInstanceOf(PrimedError);
  });
});

describe('head', () => {
  test('version, type and whole-object checksums', async () => {
    handle = (_request, _url, response) =>
      response
        .writeHead(200, {
          'content-length': '12',
          etag: '"abc-2"',
          'last-modified': 'Mon, 06 May 2024 07:08:09 GMT',
          'content-type': 'text/x',
          'x-amz-version-id': 'v1',
          'x-amz-checksum-type': 'FULL_OBJECT',
          'x-amz-checksum-crc64nvme': 'AAAAAAAAAAA=',
        })
        .end();
    expect(await open().head(p('s3://b/k'))).toEqual({
      path: 's3://b/k',
      etag: 'abc-2',
      sizeBytes: 12,
      lastModifiedMs: Date.UTC(2024, 4, 6, 7, 8, 9),
      versionId: 'v1',
      contentType: 'text/x',
      attributes: 'ttext/x\nvv1\n6AAAAAAAAAAA=',
      checksums: { crc64nvme: 'AAAAAAAAAAA=' },
    });
  });

  test('checksums of checksums are none of the bytes, and are told to readers', async () => {
    handle = (_request, _url, response) =>
      response
        .writeHead(200, {
          'content-length': '1',
          etag: '"x"',
          'x-amz-checksum-type': 'COMPOSITE',
          'x-amz-checksum-crc32c': 'AAAAAA==-2',
        })
        .end();
    expect(await open().head(p('s3://b/k'))).toMatchObject({ checksums: {}, attributes: 'KAAAAAA==-2' });
  });

  test('head tells a missing key from a missing bucket: what HEAD cannot say is asked by GET', async () => {
    let code = 'NoSuchKey';
    handle = (request, _url, response) => {
      response.writeHead(404);
      response.end(
        request.method === 'HEAD' ? undefined : `<Error><Code>${code}</Code><Message>gone</Message></Error>`,
      );
    };
    const missing = { code: 'ORIGIN_NOT_FOUND' };
    await expect(open().head(p('s3://b/no'))).rejects.toMatchObject({ ...missing, facts: { s3Code: 'NoSuchKey' } });
    code = 'NoSuchBucket';
    await expect(open().head(p('s3://b/no'))).rejects.toMatchObject({ ...missing, facts: { s3Code: 'NoSuchBucket' } });
  });

  test('many are asked for on one connection, without the SDK', async () => {
    handle = (_request, _url, response) => response.writeHead(200, { etag: '"x"', 'content-length': '7' }).end();
    let connections = 0;
    server.on('connection', () => (connections += 1));
    const origins = open();
    for (let at = 0; at < 20; at += 1) expect(await origins.head(p(`s3://b/k ${at}`))).toMatchObject({ sizeBytes: 7 });
    expect(asked.map(({ agent }) => agent)).toEqual(Array(20).fill('primed'));
    // The next may begin a moment before the connection is free; a connection each would be 20.
    expect(connections).toBeLessThan(10);
  });

  test.each([
    ['an ETag twice', ['etag', '"a"', 'etag', '"b"', 'content-length', '1']],
    ['a date that is none', ['etag', '"a"', 'content-length', '1', 'last-modified', 'yesterday']],
  ])('%s is left to the SDK', async (_what, headers) => {
    handle = (_request, _url, response) => response.writeHead(200, headers).end();
    await open()
      .head(p('s3://b/k'))
      .catch(() => undefined);
    expect(asked.length).toBeGreaterThan(1);
    expect(asked[0]!.agent).toBe('primed');
    expect(asked[1]!.agent).toContain('aws-sdk');
  });

  test('an object that may be read but not looked at keeps the refusal of the HEAD', async () => {
    handle = (request, _url, response) =>
      response
        .writeHead(request.method === 'HEAD' ? 403 : 206, {
          'x-amz-request-id': request.method!,
          'content-range': 'bytes 0-0/1',
        })
        .end(request.method === 'HEAD' ? undefined : 'x');
    await expect(open().head(p('s3://b/k'))).rejects.toMatchObject({
      code: 'ORIGIN_DENIED',
      facts: { httpStatus: 403, requestId: 'HEAD' },
    });
  });
});

describe('failures are errors of the catalogue, with the facts', () => {
  const answer =
    (status: number, code: string): Handler =>
    (_request, _url, response) =>
      response
        .writeHead(status, { 'x-amz-request-id': 'RID' })
        .end(`<Error><Code>${code}</Code><Message>about it</Message></Error>`);

  test.each([
    [404, 'NoSuchBucket', 'ORIGIN_NOT_FOUND'],
    [403, 'AccessDenied', 'ORIGIN_DENIED'],
    [403, 'InvalidAccessKeyId', 'ORIGIN_DENIED'],
    [400, 'ExpiredToken', 'ORIGIN_CREDENTIALS'],
    [503, 'SlowDown', 'ORIGIN_THROTTLED'],
    [500, 'InternalError', 'ORIGIN_SERVER_ERROR'],
    [400, 'InvalidBucketName', 'ORIGIN_REJECTED'],
  ])('%i %s is %s', async (status, s3Code, code) => {
    handle = answer(status, s3Code);
    const error = (await open()
      .list(p('s3://b/dir/'), {})
      .catch((e: unknown) => e)) as PrimedError;
    expect(error).toBeInstanceOf(PrimedError);
    expect(error.code).toBe(code);
    for (const fact of ['s3://b/dir/', `HTTP ${status}`, s3Code, 'RID', 'about it'])
      expect(error.message).toContain(fact);
  });

  test('HEAD has no body: the status decides', async () => {
    handle = (_request, _url, response) => response.writeHead(403, { 'x-amz-request-id': 'RID' }).end();
    await expect(open().head(p('s3://b/k'))).rejects.toMatchObject({
      code: 'ORIGIN_DENIED',
      message: expect.stringContaining('RID'),
    });
  });

  test('retries are bounded', async () => {
    handle = answer(500, 'InternalError');
    await expect(open({}, { attempts: 3 }).head(p('s3://b/k'))).rejects.toMatchObject({ code: 'ORIGIN_SERVER_ERROR' });
    // One of our own, and those of the SDK.
    expect(asked.length).toBe(1 + 3);
  });

  test('nobody listens', async () => {
    const origins = open({ endpoint: 'http://127.0.0.1:1' });
    await expect(origins.list(p('s3://b/'), {})).rejects.toMatchObject({
      code: 'ORIGIN_UNREACHABLE',
      message: expect.stringContaining('ECONNREFUSED'),
    });
  });

  test('no such profile', async () => {
    const { accessKeyId: _a, secretAccessKey: _s, ...entry } = { accessKeyId: undefined, secretAccessKey: undefined };
    const ufs = [
      {
        prefix: 's3://',
        endpoint: `http://127.0.0.1:${port}`,
        region: 'r',
        profile: 'primed-has-no-such-profile',
        ...entry,
      },
    ];
    const origins = openOrigins({ ufs, timeouts, retry: { attempts: 1 }, log });
    opened.push(origins);
    const { originIndex } = origins.resolve('s3://b/k');
    await expect(origins.credentials(originIndex)).rejects.toMatchObject({ code: 'ORIGIN_CREDENTIALS' });
    handle = listingOf([]);
    await expect(origins.list(p('s3://b/'), {})).rejects.toMatchObject({ code: 'ORIGIN_CREDENTIALS' });
  });
});

describe('what lanes are told', () => {
  test('an endpoint that is not Amazon takes the bucket in its path', async () => {
    const origins = open({ endpoint: `http://127.0.0.1:${port}/base` });
    expect(await origins.laneOrigin(p('s3://b/k'))).toMatchObject({
      kind: 's3',
      host: '127.0.0.1',
      port,
      tls: false,
      hostHeader: `127.0.0.1:${port}`,
      pathPrefix: '/base/b',
      endpoint: `http://127.0.0.1:${port}/base`,
      bucket: 'b',
      region: 'us-east-1',
      forcePathStyle: true,
      signed: true,
    });
    expect(asked).toEqual([]);
  });

  test('unless virtual hosts are asked for', async () => {
    const origins = open({ endpoint: 'https://s3.example.com', pathStyle: false });
    expect(await origins.laneOrigin(p('s3://bucket/k'))).toMatchObject({
      host: 'bucket.s3.example.com',
      port: 443,
      tls: true,
      hostHeader: 'bucket.s3.example.com',
      pathPrefix: '',
    });
  });

  test('one index for each bucket, the same every time', () => {
    const origins = open();
    expect(origins.resolve('s3://a/x').originIndex).toBe(origins.resolve('s3://a/y').originIndex);
    expect(origins.resolve('s3://b/x').originIndex).not.toBe(origins.resolve('s3://a/y').originIndex);
  });

  test('credentials of the entry', async () => {
    const origins = open();
    const { originIndex } = origins.resolve('s3://b/k');
    expect(await origins.credentials(originIndex)).toEqual({
      credentials: { accessKeyId: 'AK', secretAccessKey: 'SK' },
    });
    const anonymous = open({ anonymous: true, accessKeyId: undefined as never, secretAccessKey: undefined as never });
    expect(await anonymous.credentials(anonymous.resolve('s3://b/k').originIndex)).toBeUndefined();
  });

  test('another way to reach one of them holds from the next use on, and for it alone', async () => {
    const entry = { endpoint: `http://127.0.0.1:${port}`, region: 'r1', accessKeyId: 'AK', secretAccessKey: 'SK' };
    const ufs = [
      { prefix: 's3://a/', ...entry },
      { prefix: 's3://b/', ...entry },
    ];
    const origins = openOrigins({ ufs, timeouts, retry: { attempts: 1 }, log });
    opened.push(origins);
    const [a, b] = [await origins.laneOrigin(p('s3://a/k')), await origins.laneOrigin(p('s3://b/k'))];
    expect(origins.reconfigure({ ufs: ufs.map((one) => ({ ...one })) })).toEqual([]);
    const next = { ...ufs[1]!, region: 'r2', accessKeyId: 'BK', endpoint: 'http://127.0.0.2:1' };
    expect(origins.reconfigure({ ufs: [{ ...ufs[0]! }, next] })).toEqual([b.originIndex]);
    expect(await origins.laneOrigin(p('s3://a/k'))).toEqual(a);
    expect(await origins.laneOrigin(p('s3://b/k'))).toMatchObject({
      ...{ originIndex: b.originIndex, region: 'r2', host: '127.0.0.2', port: 1 },
    });
    expect(await origins.credentials(b.originIndex)).toMatchObject({ credentials: { accessKeyId: 'BK' } });
    expect(await origins.credentials(a.originIndex)).toMatchObject({ credentials: { accessKeyId: 'AK' } });
    expect(origins.reconfigure({ timeouts: { connectMs: 1, firstByteMs: 1, stallMs: 1 } })).toEqual([]);
    handle = () => undefined;
    await expect(origins.head(p('s3://a/k'))).rejects.toThrow(PrimedError);
  });

  test('the environment of AWS where nothing is configured', async () => {
    const saved = { ...process.env };
    try {
      Object.assign(process.env, {
        AWS_ENDPOINT_URL: `http://127.0.0.1:${port}`,
        AWS_REGION: 'eu-x',
        AWS_ACCESS_KEY_ID: 'EK',
        AWS_SECRET_ACCESS_KEY: 'ES',
        AWS_SESSION_TOKEN: 'ET',
      });
      const origins = openOrigins({ ufs: [], timeouts, retry: { attempts: 1 }, log });
      opened.push(origins);
      const lane = await origins.laneOrigin(p('s3://b/k'));
      expect(lane).toMatchObject({ port, region: 'eu-x', pathPrefix: '/b', forcePathStyle: true });
      expect(await origins.credentials(lane.originIndex)).toMatchObject({
        credentials: { accessKeyId: 'EK', secretAccessKey: 'ES', sessionToken: 'ET' },
      });
    } finally {
      process.env = saved;
    }
  });
});

test('read streams an object, and notices when it is cut', async () => {
  let cut = false;
  handle = (_request, _url, response) => {
    response.writeHead(200, { 'content-length': '100000' });
    response.write('x'.repeat(50_000));
    if (cut) response.destroy();
    else response.end('y'.repeat(50_000));
  };
  const origins = open();
  const collect = async (): Promise<number> => {
    let bytes = 0;
    for await (const chunk of origins.read(p('s3://b/index'))) bytes += chunk.length;
    return bytes;
  };
  expect(await collect()).toBe(100_000);
  cut = true;
  await expect(collect()).rejects.toMatchObject({ code: 'ORIGIN_RESET' });
});

describe('part', () => {
  const version = { path: p('s3://b/k'), etag: 'e-3', sizeBytes: 25, lastModifiedMs: 0 };
  const right = {
    'content-range': 'bytes 10-19/25',
    'content-length': '10',
    'x-amz-mp-parts-count': '3',
    etag: '"e-3"',
  };
  const says = (status: number, headers: Record<string, string>): void => {
    handle = (_request, _url, response) => void response.writeHead(status, headers).end();
  };

  test('is the range that the origin names for this very version', async () => {
    const conditions: unknown[] = [];
    handle = (request, url, response) => {
      conditions.push([request.method, url.pathname, url.searchParams.get('partNumber'), request.headers['if-match']]);
      response.writeHead(206, right).end();
    };
    expect(await open({ pathStyle: true }).part(version, 2)).toEqual({ range: { offset: 10, length: 10 }, parts: 3 });
    expect(conditions).toEqual([['HEAD', '/b/k', '2', '"e-3"']]);
  });

  test.each([
    ['a server that does not know parts', 200, { 'content-length': '25', etag: '"e-3"' }],
    ['no count of parts', 206, { ...right, 'x-amz-mp-parts-count': '' }],
    ['another object', 206, { ...right, 'content-range': 'bytes 10-19/26' }],
    ['another version', 206, { ...right, etag: '"e-4"' }],
    ['a range beyond the end', 206, { ...right, 'content-range': 'bytes 20-29/25' }],
    ['a length that is another', 206, { ...right, 'content-length': '9' }],
    ['a version that has changed', 412, {}],
    ['an object that is gone', 404, {}],
    ['no such part', 416, {}],
  ])('is not known from %s', async (_what, status, headers) => {
    says(status, headers);
    expect(await open({ pathStyle: true }).part(version, 2)).toBeUndefined();
  });

  test('an origin that refuses, or fails, is an error', async () => {
    says(403, {});
    await expect(open({ pathStyle: true }).part(version, 2)).rejects.toMatchObject({ code: 'ORIGIN_DENIED' });
    says(500, {});
    await expect(open({ pathStyle: true }).part(version, 2)).rejects.toMatchObject({
      code: expect.stringMatching(/^ORIGIN_/),
    });
  });
});
