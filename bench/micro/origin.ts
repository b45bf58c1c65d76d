/** origin by itself: what a request costs before it is sent, an answer before its first byte lands, and a page of keys. */
import { XMLParser } from 'fast-xml-parser';
import { Bench } from 'tinybench';
import { scanListing } from '../../src/origin/list-scan.ts';
import { makeHeadReader } from '../../src/origin/response-head.ts';
import { encodeKey, makeSigner } from '../../src/origin/signer.ts';

export function suites(): Promise<readonly Bench[]> {
  return Promise.resolve([signBench(), headBench(), listBench()]);
}

function signBench(): Bench {
  const bench = new Bench({ name: 'sign', time: 300, warmupTime: 100 });
  const signer = makeSigner({ region: 'us-east-1', hostHeader: 'bucket.s3.us-east-1.amazonaws.com' });
  signer.setCredentials({ accessKeyId: 'AKIDEXAMPLE000000000', secretAccessKey: 'secret' });
  const plain = 'training/shards/part-000123/sample-00045678.tar';
  const odd = 'training/ü mit Leerzeichen/part+000123/sample (1).tar';
  return bench
    .add('sign a GET', () => void signer.sign(`/${plain}`, ''))
    .add('encode a plain key', () => void encodeKey(plain))
    .add('encode an odd key', () => void encodeKey(odd));
}

const head = Buffer.from(
  'HTTP/1.1 206 Partial Content\r\nx-amz-id-2: Uuag1LuByRx9e6j5Onimru9pO4ZVKnJ2Qz7/C1NPcfTWAtRPfTaOFg==\r\n' +
    'x-amz-request-id: 656c76696e6727732072657175657374\r\nDate: Tue, 06 May 2025 12:00:00 GMT\r\n' +
    'Last-Modified: Mon, 05 May 2025 12:00:00 GMT\r\nETag: "fba9dede5f27731c9771645a39863328-12"\r\n' +
    'Accept-Ranges: bytes\r\nContent-Range: bytes 8388608-16777215/536870912\r\nContent-Type: binary/octet-stream\r\n' +
    'Content-Length: 8388608\r\nServer: AmazonS3\r\n\r\n',
  'latin1',
);

function headBench(): Bench {
  const bench = new Bench({ name: 'response head', time: 300, warmupTime: 100 });
  const reader = makeHeadReader();
  const withBody = Buffer.concat([head, Buffer.alloc(4096 - head.length)]);
  const pieces = Array.from({ length: 8 }, (_, i) =>
    head.subarray(Math.floor((head.length * i) / 8), Math.floor((head.length * (i + 1)) / 8)),
  );
  return bench
    .add('one read of 4 KiB', () => {
      reader.reset();
      reader.read(withBody, withBody.length);
    })
    .add('split into 8 reads', () => {
      reader.reset();
      for (const piece of pieces) reader.read(piece, piece.length);
    });
}

const keysPerPage = 1000;

function listBench(): Bench {
  const bench = new Bench({ name: 'page of a listing, 1,000 keys', time: 500, warmupTime: 200 });
  const contents = Array.from(
    { length: keysPerPage },
    (_, i) =>
      `<Contents><Key>training/shards/part-000123/sample-${String(i).padStart(8, '0')}.tar</Key>` +
      '<LastModified>2025-05-06T12:00:00.000Z</LastModified><ETag>&quot;fba9dede5f27731c9771645a39863328&quot;</ETag>' +
      '<Size>16384</Size><StorageClass>STANDARD</StorageClass></Contents>',
  );
  const page =
    '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>' +
    `<Prefix></Prefix><KeyCount>${keysPerPage}</KeyCount><MaxKeys>${keysPerPage}</MaxKeys><EncodingType>url</EncodingType>` +
    `<IsTruncated>false</IsTruncated>${contents.join('')}</ListBucketResult>`;
  const bytes = Buffer.from(page);
  const parser = new XMLParser({ parseTagValue: false });
  return bench
    .add('scanner', () => void scanListing(bytes.toString('utf8')))
    .add('fast-xml-parser', () => void parser.parse(bytes.toString('utf8')));
}
