/** Uploads in parts, held in memory until they are completed or given up. */
import { createHash } from 'node:crypto';
import { S3Refusal } from './answer.ts';
import type { StoredObject } from './objects.ts';
import { digestOf, uploadLimitBytes } from './upload.ts';

interface Part {
  readonly body: Buffer;
  /** Without quotes. */
  readonly etag: string;
  readonly stated: Readonly<Record<string, string>>;
}

interface Upload {
  readonly bucket: string;
  readonly key: string;
  readonly contentType: string | undefined;
  /** `x-amz-checksum-…`, of which each part has one. */
  readonly checksum: string | undefined;
  readonly parts: Map<number, Part>;
}

/** Nobody clears away what is never ended. */
const mostUploads = 256;
const mostParts = 10_000;

export type Completed = Required<Pick<StoredObject, 'body' | 'uploaded'>> & {
  readonly contentType: string | undefined;
  readonly stated: Readonly<Record<string, string>>;
};

export class Uploads {
  readonly #uploads = new Map<string, Upload>();
  #begun = 0;

  begin(of: { bucket: string; key: string; contentType: string | undefined; algorithm: string | undefined }): string {
    if (this.#uploads.size >= mostUploads)
      throw new S3Refusal(503, 'SlowDown', `This origin has ${mostUploads} uploads that nobody has ended.`);
    const { bucket, key, contentType, algorithm } = of;
    const checksum = algorithm === undefined ? undefined : `x-amz-checksum-${algorithm.toLowerCase()}`;
    this.#begun += 1;
    const id = `upload-${this.#begun}`;
    this.#uploads.set(id, { bucket, key, contentType, checksum, parts: new Map() });
    return id;
  }

  /** Without quotes: the ETag of the part. */
  part(id: string, number: number, body: Buffer, stated: Readonly<Record<string, string>>): string {
    const { checksum, parts } = this.#find(id);
    if (!Number.isInteger(number) || number < 1 || number > mostParts)
      throw new S3Refusal(
        400,
        'InvalidArgument',
        `Part number must be an integer between 1 and ${mostParts}, inclusive`,
      );
    const said = Object.keys(stated)[0];
    if (checksum !== said) {
      const text = `Checksum Type mismatch occurred, expected checksum Type: ${checksum ?? 'null'}, actual: ${said ?? 'null'}`;
      throw new S3Refusal(400, 'InvalidRequest', text);
    }
    const others = [...parts].reduce((sum, [at, part]) => sum + (at === number ? 0 : part.body.length), 0);
    if (others + body.length > uploadLimitBytes)
      throw new S3Refusal(400, 'EntityTooLarge', `This origin takes objects of at most ${uploadLimitBytes} bytes.`);
    const etag = createHash('md5').update(body).digest('hex');
    parts.set(number, { body, etag, stated });
    return etag;
  }

  /** @param document of CompleteMultipartUpload */
  complete(id: string, document: string): Completed {
    const { contentType, checksum, parts } = this.#find(id);
    const chosen: Part[] = [];
    let last = 0;
    for (const [, row] of document.matchAll(/<Part>([\s\S]*?)<\/Part>/g)) {
      const field = (name: string): string | undefined => new RegExp(`<${name}>([^<]*)</${name}>`).exec(row!)?.[1];
      const number = Number(field('PartNumber'));
      const part = parts.get(number);
      if (number <= last) throw new S3Refusal(400, 'InvalidPartOrder', 'The list of parts was not in ascending order.');
      const etag = field('ETag')?.replace(/"|&quot;|&#34;/g, '');
      const sum = checksum && field(`Checksum${checksum.slice(checksum.lastIndexOf('-') + 1).toUpperCase()}`);
      if (part === undefined || part.etag !== etag || (checksum && sum !== part.stated[checksum]))
        throw new S3Refusal(400, 'InvalidPart', 'One or more of the specified parts could not be found.');
      chosen.push(part);
      last = number;
    }
    if (chosen.length === 0) throw new S3Refusal(400, 'MalformedXML', 'The document names no part.');
    const body = Buffer.concat(chosen.map((part) => part.body));
    const hashes = Buffer.concat(chosen.map(({ etag }) => Buffer.from(etag, 'hex')));
    const etag = `${createHash('md5').update(hashes).digest('hex')}-${chosen.length}`;
    this.#uploads.delete(id);
    const sums = checksum && Buffer.concat(chosen.map(({ stated }) => Buffer.from(stated[checksum]!, 'base64')));
    return {
      ...{ body, contentType, uploaded: { etag, partBytes: chosen.map((part) => part.body.length) } },
      stated: sums ? { [checksum]: `${digestOf(checksum, sums)}-${chosen.length}` } : {},
    };
  }

  abort(id: string): void {
    this.#find(id);
    this.#uploads.delete(id);
  }

  #find(id: string): Upload {
    const upload = this.#uploads.get(id);
    if (upload === undefined) throw new S3Refusal(404, 'NoSuchUpload', 'The specified upload does not exist.');
    return upload;
  }
}
