/** The corpus of requests that is put to a reference S3 server and to the S3 port: which objects there are, and every request. */
import { KiB, MiB } from '../../src/core/units.ts';
import { encodeKey } from '../../src/server/s3/signing.ts';
import type { S3Request } from './s3-signed.ts';

export interface CorpusObject {
  readonly key: string;
  readonly sizeBytes: number;
  /** As PutObject of the AWS SDK takes them. */
  readonly more?: Readonly<Record<string, unknown>>;
  /** Uploaded in parts of 5 MiB. */
  readonly multipart?: true;
}

export const corpusBucket = 'corpus';
const long = `long/${'k'.repeat(1019)}`;

/** Of every shape that a key may have, and of the sizes around each border. */
export const corpusObjects: readonly CorpusObject[] = [
  {
    key: 'text',
    sizeBytes: 1000,
    more: {
      ContentType: 'text/plain; charset=utf-8',
      CacheControl: 'max-age=60, private',
      ContentDisposition: 'attachment; filename="t.txt"',
      ContentLanguage: 'de',
      Expires: new Date(Date.UTC(2030, 0, 2, 3, 4, 5)),
      Metadata: { colour: 'blue', 'a-b': '1,2;3', upper: 'MiXed Case' },
    },
  },
  { key: 'zip', sizeBytes: 77, more: { ContentType: 'application/x-tar', ContentEncoding: 'gzip' } },
  { key: 'empty', sizeBytes: 0 },
  { key: 'page', sizeBytes: MiB + 1, more: { ContentType: 'video/mp4', Metadata: { frames: '24' } } },
  { key: 'multi', sizeBytes: 11 * MiB, multipart: true, more: { ContentType: 'image/x-multi', Metadata: { m: 'n' } } },
  ...[
    'sp ace',
    'plus+',
    'percent%41',
    'percent%2F',
    'a',
    'a/b',
    'a/b/c',
    'a//b',
    'a/./b',
    'a/../b',
    '/slash',
    '//slashes',
    'ends/with/..',
    "tilde~*!'()",
    'quote"<&>',
    'back\\slash',
    'colon:;,=@$#?',
    'größe',
    '日本/語',
    'e\u0301-decomposed',
    'emoji-😀',
    'tab\tin',
    'line\nbreak',
    'one\u0001',
    'del\u007f',
    long,
  ].map((key) => ({ key, sizeBytes: 10 + Buffer.byteLength(key) })),
  ...Array.from({ length: 24 }, (_, n) => ({ key: `list/${String(n).padStart(2, '0')}`, sizeBytes: n + 1 })),
  ...Array.from({ length: 6 }, (_, n) => ({ key: `list/deep/${n % 3}/${n}`, sizeBytes: KiB + n })),
];

/** What the conditions are made from: of the object `text`. */
export interface CorpusFacts {
  readonly etag: string;
  readonly lastModifiedMs: number;
}

export interface CorpusCase extends S3Request {
  readonly name: string;
}

export function corpusCases(facts: CorpusFacts): CorpusCase[] {
  const cases = [
    ...ofKeys(),
    ...ofRanges(),
    ...ofConditions(facts),
    ...ofQueries(),
    ...ofLists(),
    ...ofMixtures(facts),
    ...ofBuckets(),
    ...ofBad(),
  ];
  return cases.map((one) => ({ ...one, name: nameOf(one) }));
}

function nameOf({ method, target, headers = {}, signing }: S3Request & { name?: string }): string {
  const said = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  const signed = signing === undefined ? [] : [JSON.stringify(signing)];
  return [
    `${method} ${target.length > 200 ? `${target.slice(0, 40)}…${target.length}` : target}`,
    ...said,
    ...signed,
  ].join(' | ');
}

const at = (key: string, query = ''): string => `/${corpusBucket}/${encodeKey(key)}${query === '' ? '' : `?${query}`}`;
const both = (target: string, headers: Record<string, string> = {}): S3Request[] =>
  ['GET', 'HEAD'].map((method) => ({ method, target, headers }));

function ofKeys(): S3Request[] {
  return [
    ...corpusObjects.filter(({ key }) => !key.startsWith('list/')).flatMap(({ key }) => both(at(key))),
    ...[
      'none',
      'a/',
      'a/b/',
      'A',
      'text/',
      'list',
      'list/',
      'sp+ace',
      'plus%20',
      '%61',
      'a%2Fb',
      'a%2F%2Fb',
      'a/%2E%2E/b',
    ].flatMap((raw) => both(`/${corpusBucket}/${raw}`)),
    ...both(`/${corpusBucket}//text`),
    ...both(`/${corpusBucket}/../${corpusBucket}/text`),
    ...both(at('text', 'x-id=GetObject')),
    ...both(at('text', 'unknown=parameter&another')),
    ...both('/no-such-bucket/key'),
    ...both(`/${corpusBucket}/${'k'.repeat(1025)}`),
  ];
}

function ofRanges(): S3Request[] {
  const ranges = [
    ...['bytes=0-0', 'bytes=0-', 'bytes=5-9', 'bytes=-1', 'bytes=-0', 'bytes=-5000000', 'bytes=999-', 'bytes=999-5000'],
    ...['bytes=1000-', 'bytes=1000-2000', 'bytes=5-4', 'bytes=0-1,4-5', 'bytes=abc', 'bytes=', 'bytes=-', 'bits=0-1'],
    ...['bytes 0-1', 'Bytes=0-1', 'bytes=0 - 1', 'bytes= 0-1', 'bytes=1-99999999999999999999', '0-5', 'bytes=0x1-5'],
    ...['bytes=1048575-1048576', 'bytes=-1048577', 'bytes=5242879-5242880'],
  ];
  return ['text', 'page', 'empty', 'multi'].flatMap((key) =>
    ranges.flatMap((range) =>
      key === 'text' ? both(at(key), { range }) : [{ method: 'GET', target: at(key), headers: { range } }],
    ),
  );
}

function ofConditions({ etag, lastModifiedMs }: CorpusFacts): S3Request[] {
  const tags = [`"${etag}"`, etag, '"other"', '*', `W/"${etag}"`, `"other", "${etag}"`, '"other","more"', '""'];
  const dates = [-3_600_000, 0, 3_600_000].map((off) => new Date(lastModifiedMs + off).toUTCString());
  const times = [...dates, 'yesterday', new Date(lastModifiedMs).toISOString()];
  const single = [
    ...['if-match', 'if-none-match'].flatMap((name) => tags.map((value) => ({ [name]: value }))),
    ...['if-modified-since', 'if-unmodified-since'].flatMap((name) => times.map((value) => ({ [name]: value }))),
  ];
  const good = `"${etag}"`;
  const [earlier, , later] = dates as [string, string, string];
  const pairs: Record<string, string>[] = [good, '"other"'].flatMap((tag) =>
    [earlier, later].flatMap((date) => [
      { 'if-match': tag, 'if-unmodified-since': date },
      { 'if-none-match': tag, 'if-modified-since': date },
      { 'if-match': tag, 'if-none-match': good },
      { 'if-match': tag, 'if-modified-since': date },
      { 'if-none-match': tag, 'if-unmodified-since': date },
    ]),
  );
  const ranged = [good, '"other"', etag, dates[1]!, earlier, 'nonsense'].map((value) => ({
    range: 'bytes=2-5',
    'if-range': value,
  }));
  const withRange = [{ 'if-match': '"other"' }, { 'if-none-match': good }, { 'if-modified-since': later }].map(
    (one) => ({
      ...one,
      range: 'bytes=2-5',
    }),
  );
  return [...single, ...pairs, ...ranged, ...withRange].flatMap((headers) =>
    both(at('text'), headers as Record<string, string>),
  );
}

function ofQueries(): S3Request[] {
  const overrides = [
    'content-type',
    'content-language',
    'content-encoding',
    'content-disposition',
    'cache-control',
    'expires',
  ];
  const some = overrides.map((name) => `response-${name}=x%2Fy%3B%20a%3D%22b%22`);
  return [
    ...[
      ...some,
      some.join('&'),
      'response-content-type=',
      'response-content-type',
      'response-expires=Thu%2C%2001%20Dec%202033%2016%3A00%3A00%20GMT',
    ].flatMap((query) => both(at('text', query))),
    ...both(at('page', some.join('&')), { range: 'bytes=0-9' }),
    { method: 'GET', target: at('text', some[0]), signing: { as: 'link' } },
    { method: 'GET', target: at('text', some[0]), signing: { as: 'none' } },
    ...['1', '2', '0', '-1', 'x', '10001', ''].flatMap((n) => both(at('text', `partNumber=${n}`))),
    ...['1', '2', '4'].flatMap((n) => both(at('multi', `partNumber=${n}`))),
    ...['null', 'bogus', ''].flatMap((id) => both(at('text', `versionId=${id}`))),
  ];
}

function ofLists(): S3Request[] {
  const list = (parameters: Record<string, string>): S3Request => ({
    method: 'GET',
    target: `/${corpusBucket}?${Object.entries(parameters)
      .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
      .join('&')}`,
  });
  const requests: S3Request[] = [];
  for (const generation of [{}, { 'list-type': '2' }]) {
    const second = 'list-type' in generation;
    for (const encoding of [{}, { 'encoding-type': 'url' }]) {
      for (const prefix of ['', 'list/', 'list/deep/', 'a', 'a/', 'none', 'gr', '日'])
        for (const delimiter of ['', '/', 'e', 'deep/'])
          requests.push(list({ ...generation, ...encoding, prefix, delimiter }));
      for (const after of ['list/05', 'list/', 'list/deep/1/', 'zzz', 'a', ' ', 'größe', '日本'])
        for (const delimiter of ['', '/'])
          requests.push(list({ ...generation, ...encoding, [second ? 'start-after' : 'marker']: after, delimiter }));
    }
    for (const keys of [
      '0',
      '1',
      '3',
      '1000',
      '1001',
      '2000',
      '2147483647',
      '2147483648',
      '-1',
      'x',
      '',
      '1.5',
      '+3',
      ' 3',
    ])
      requests.push(
        list({ ...generation, prefix: 'list/', 'max-keys': keys }),
        list({ ...generation, delimiter: '/', 'max-keys': keys }),
      );
    for (const more of [
      { 'encoding-type': 'xml' },
      { 'encoding-type': '' },
      { 'fetch-owner': 'true' },
      { 'fetch-owner': 'false' },
      { 'allow-unordered': 'false' },
    ])
      requests.push(list({ ...generation, prefix: 'a', ...more } as Record<string, string>));
  }
  requests.push(
    list({ 'list-type': '3' }),
    list({ 'list-type': '1' }),
    list({ 'list-type': '2', 'continuation-token': '' }),
  );
  requests.push({ method: 'GET', target: `/${corpusBucket}/` }, { method: 'GET', target: `/${corpusBucket}?prefix` });
  requests.push({ method: 'GET', target: '/no-such-bucket' }, { method: 'GET', target: '/no-such-bucket?list-type=2' });
  return requests;
}

/** What is said together, twice, or where it belongs to another question. */
function ofMixtures({ etag, lastModifiedMs }: CorpusFacts): S3Request[] {
  const good = `"${etag}"`;
  const date = new Date(lastModifiedMs).toUTCString();
  const lists = [
    'prefix=list/&start-after=list/05&marker=list/10',
    'list-type=2&prefix=list/&start-after=list/05&marker=list/10',
    'prefix=list/&continuation-token=x',
    'prefix=list/deep/&delimiter=/&marker=list/deep/1',
    'list-type=2&prefix=list/deep/&delimiter=/&start-after=list/deep/1/3',
    'list-type=2&prefix=list/deep/&delimiter=/&start-after=list/deep/1/4&max-keys=1',
    'prefix=list/deep/&delimiter=/&marker=list/deep/1/&max-keys=1',
    'prefix=list/0&delimiter=0',
    'prefix=list/&delimiter=list/',
    'delimiter=%2F%2F',
    'delimiter=%F0%9F%98%80&encoding-type=url',
    'list-type=2&max-keys=2&start-after=page',
    'max-keys=2&marker=page',
    'list-type=2&fetch-owner=TRUE&max-keys=1',
    'list-type=2&fetch-owner=&max-keys=1',
    'Prefix=list/&max-keys=1',
  ];
  return [
    ...lists.map((query) => ({ method: 'GET', target: `/${corpusBucket}?${query}` })),
    ...['partNumber=1', 'partNumber=2'].flatMap((query) => [
      ...both(at('multi', query), { range: 'bytes=0-1' }),
      ...both(at('multi', query), { 'if-match': '"other"' }),
    ]),
    ...both(at('empty', 'partNumber=1')),
    ...both(at('empty'), { 'if-match': '"other"', range: 'bytes=0-0' }),
    ...both(at('empty'), { 'if-none-match': '*', range: 'bytes=0-0' }),
    ...both(at('text'), { 'if-none-match': good, range: 'bytes=5000-' }),
    ...both(at('text'), { 'if-modified-since': date, range: 'bytes=5000-' }),
    ...both(at('text', 'response-content-type=x'), { 'if-none-match': good }),
    ...both(at('text'), { 'if-match': good, 'if-none-match': '"other"', range: 'bytes=1-2' }),
    ...both(at('none'), { 'if-match': good }),
    ...both(at('none'), { 'if-none-match': '*' }),
    ...both(at('none'), { range: 'bytes=0-1' }),
    ...both(at('none', 'partNumber=2')),
    ...both(at('none', 'versionId=bogus')),
    ...both(at('text'), { 'x-amz-expected-bucket-owner': '000000000000' }),
    ...both(at('text'), { 'accept-encoding': 'gzip' }),
    ...both(at('zip'), { 'accept-encoding': 'identity' }),
  ];
}

function ofBuckets(): S3Request[] {
  return [
    { method: 'GET', target: '/' },
    { method: 'HEAD', target: `/${corpusBucket}` },
    { method: 'HEAD', target: `/${corpusBucket}/` },
    { method: 'HEAD', target: '/no-such-bucket' },
    { method: 'GET', target: `/${corpusBucket}?location` },
    { method: 'GET', target: `/${corpusBucket}/?location` },
    { method: 'GET', target: '/no-such-bucket?location' },
    { method: 'GET', target: `/${corpusBucket}?versioning` },
  ];
}

function ofBad(): S3Request[] {
  const target = at('text');
  const day = 24 * 3_600_000;
  const badly = (signing: NonNullable<S3Request['signing']>, where = target): S3Request => ({
    method: 'GET',
    target: where,
    signing,
  });
  return [
    badly({ keys: { secretAccessKey: 'wrong' } }),
    badly({ keys: { accessKeyId: 'NOBODY' } }),
    badly({ aheadMs: -16 * 60_000 }),
    badly({ aheadMs: 16 * 60_000 }),
    badly({ aheadMs: -day }),
    badly({ as: 'none' }),
    badly({ as: 'none' }, `/${corpusBucket}`),
    badly({ as: 'none' }, '/no-such-bucket/key'),
    badly({ as: 'none' }, at('none')),
    badly({ as: 'link' }),
    badly({ as: 'link', aheadMs: -400_000 }),
    badly({ as: 'link', aheadMs: 30 * 60_000 }),
    badly({ as: 'link', expiresS: 0 }),
    badly({ as: 'link', expiresS: 604_801 }),
    badly({ as: 'link', expiresS: -1 }),
    badly({ as: 'link', expiresS: 'x' }),
    badly({ as: 'link', keys: { secretAccessKey: 'wrong' } }),
    badly({ as: 'link', keys: { accessKeyId: 'NOBODY' } }),
    badly({ as: 'link', fault: 'another key', spoil: (sent) => (sent.target = sent.target.replace('/text', '/page')) }),
    badly({
      as: 'link',
      fault: 'no signature',
      spoil: (sent) => (sent.target = sent.target.replace(/&X-Amz-Signature=.*/, '')),
    }),
    badly({
      as: 'link',
      fault: 'no date',
      spoil: (sent) => (sent.target = sent.target.replace(/&X-Amz-Date=[^&]*/, '')),
    }),
    badly({ as: 'link', fault: 'one more parameter', spoil: (sent) => (sent.target += '&more=1') }),
    badly({ fault: 'another key', spoil: (sent) => (sent.target = at('page')) }),
    badly({ fault: 'one more parameter', spoil: (sent) => (sent.target += '?more=1') }),
    badly({ fault: 'no hash', spoil: ({ headers }) => delete headers['x-amz-content-sha256'] }),
    badly({ fault: 'no x-amz-date', spoil: ({ headers }) => delete headers['x-amz-date'] }),
    badly({ fault: 'nonsense', spoil: ({ headers }) => (headers.authorization = 'AWS4-HMAC-SHA256 nonsense') }),
    badly({ fault: 'bearer', spoil: ({ headers }) => (headers.authorization = 'Bearer x') }),
    badly({ fault: 'version 2', spoil: ({ headers }) => (headers.authorization = 'AWS NOBODY:c2lnbmF0dXJl') }),
    badly({
      fault: 'another signature',
      spoil: ({ headers }) =>
        (headers.authorization = headers.authorization!.replace(/Signature=(.)/, (_, digit) =>
          digit === '0' ? 'Signature=1' : 'Signature=0',
        )),
    }),
    badly({
      fault: 'host alone signed',
      spoil: ({ headers }) =>
        (headers.authorization = headers.authorization!.replace(/SignedHeaders=[^,]*/, 'SignedHeaders=host')),
    }),
  ];
}
