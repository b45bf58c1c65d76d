/**
 * An origin that only lists, cheaply: `bench` with as many keys as are asked for, pages made on the spot from templates. A process
 * of its own, started with HOST, PORT and the number of keys. It answers ListObjectsV2 with a prefix of `data/`, and nothing
 * else: what it lists is planned, not loaded.
 */
import { createServer } from 'node:http';

const [host, port, keyCount] = [process.argv[2]!, Number(process.argv[3]), Number(process.argv[4])];
const keysPerPage = 1000;
const keysPerFolder = 10_000;

/** Sorted as their numbers are. */
const keyOf = (index: number): string =>
  `data/shard-${String(Math.floor(index / keysPerFolder)).padStart(6, '0')}/object-${String(index).padStart(9, '0')}.bin`;

/** Does not repeat, and cannot be compressed: 128 bits in hexadecimal, by the finalizer of MurmurHash3 over the index. */
function etagOf(index: number): string {
  let text = '';
  for (let part = 0; part < 4; part += 1) {
    let hash = Math.imul(index * 4 + part + 1, 0x9e3779b1);
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    text += ((hash ^ (hash >>> 16)) >>> 0).toString(16).padStart(8, '0');
  }
  return text;
}

function pageXml(first: number): string {
  const end = Math.min(first + keysPerPage, keyCount);
  const isLast = end === keyCount;
  let contents = '';
  for (let index = first; index < end; index += 1) {
    const seconds = String(index % 60).padStart(2, '0');
    contents += `<Contents><Key>${keyOf(index)}</Key><LastModified>2026-01-02T03:${seconds}:${seconds}.000Z</LastModified><ETag>&quot;${etagOf(index)}&quot;</ETag><Size>${4096 + (index % 997) * 1024}</Size><StorageClass>STANDARD</StorageClass></Contents>`;
  }
  const next = isLast ? '' : `<NextContinuationToken>${end}</NextContinuationToken>`;
  return (
    '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">' +
    `<Name>bench</Name><Prefix>data/</Prefix><MaxKeys>${keysPerPage}</MaxKeys><KeyCount>${end - first}</KeyCount>` +
    `<IsTruncated>${!isLast}</IsTruncated>${next}${contents}</ListBucketResult>`
  );
}

/** A listing goes on by token, or behind the last key that was seen. */
function firstOf(query: URLSearchParams): number {
  const token = query.get('continuation-token');
  if (token !== null) return Number(token);
  const number = /object-(\d+)\.bin$/.exec(query.get('start-after') ?? '')?.[1];
  return number === undefined ? 0 : Number(number) + 1;
}

createServer({ keepAliveTimeout: 120_000 }, (request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://origin');
  if (request.method !== 'GET' || searchParams.get('list-type') !== '2') {
    response
      .writeHead(404, { 'content-type': 'application/xml' })
      .end(`<Error><Code>NoSuchKey</Code><Message>${pathname}</Message></Error>`);
    return;
  }
  const body = pageXml(firstOf(searchParams));
  response.writeHead(200, { 'content-type': 'application/xml', 'content-length': Buffer.byteLength(body) }).end(body);
}).listen(port, host);
