/** The answer to each operation, and to the faults that replace an answer. */
import type { IncomingMessage } from 'node:http';
import { type Answer, objectAnswer, S3Refusal, xmlAnswer } from './answer.ts';
import type { Fault } from './faults.ts';
import { listXml } from './listing.ts';
import { Uploads } from './multipart.ts';
import { type ChecksumName, type ObjectTable, versionIdOf } from './objects.ts';
import type { Target } from './target.ts';
import { readBody, readUpload } from './upload.ts';
import { element, xmlDocument } from './xml.ts';

const codeOfStatus: Readonly<Record<number, string>> = {
  400: 'InvalidRequest',
  403: 'AccessDenied',
  404: 'NoSuchKey',
  412: 'PreconditionFailed',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'SlowDown',
};

export interface RouteOptions {
  readonly region: string;
  readonly versioned: boolean;
  readonly checksums: readonly ChecksumName[];
}

export class Routes {
  readonly #table: ObjectTable;
  readonly #region: string;
  readonly #versioned: boolean;
  readonly #checksums: readonly ChecksumName[];
  readonly #uploads = new Uploads();

  constructor(table: ObjectTable, options: RouteOptions) {
    this.#table = table;
    this.#region = options.region;
    this.#versioned = options.versioned;
    this.#checksums = options.checksums;
  }

  /** `endpoint` is where redirects point to. Rejects with S3Refusal. */
  async answer(request: IncomingMessage, target: Target, fault: Fault | undefined, endpoint: string): Promise<Answer> {
    const isHead = request.method === 'HEAD';
    if (fault?.kind === 'status') {
      throw new S3Refusal(
        fault.status,
        fault.code ?? codeOfStatus[fault.status] ?? 'InternalError',
        'This answer was ordered by a fault rule.',
        fault.retryAfterSeconds === undefined ? {} : { 'Retry-After': String(fault.retryAfterSeconds) },
      );
    }
    if (fault?.kind === 'redirect') {
      const location = fault.location ?? `${endpoint}${request.url}`;
      const code = fault.status === 307 ? 'TemporaryRedirect' : 'PermanentRedirect';
      throw new S3Refusal(fault.status, code, 'Please send this request to the endpoint in Location.', {
        Location: location,
      });
    }
    if (target.operation === 'Unknown') {
      throw new S3Refusal(501, 'NotImplemented', 'The embedded origin does not have this operation.');
    }
    if (target.operation === 'ListBuckets') return xmlAnswer(200, this.#bucketsXml(), isHead);
    if (!this.#table.hasBucket(target.bucket))
      throw new S3Refusal(404, 'NoSuchBucket', 'The specified bucket does not exist');
    switch (target.operation) {
      case 'HeadBucket':
        return { status: 200, headers: { 'x-amz-bucket-region': this.#region }, length: 0 };
      case 'GetBucketLocation': {
        const region = this.#region === 'us-east-1' ? '' : this.#region;
        return xmlAnswer(200, xmlDocument('LocationConstraint', region), isHead);
      }
      case 'ListObjects':
      case 'ListObjectsV2': {
        const xml = listXml(this.#table, target.bucket, target.query);
        if (typeof xml === 'string') return xmlAnswer(200, xml, isHead, { 'x-amz-bucket-region': this.#region });
        throw new S3Refusal(400, 'InvalidArgument', `The parameter ${xml.wrong} has a value that is not allowed.`);
      }
      case 'PutObject':
        return this.#putObject(request, target);
      case 'CreateMultipartUpload':
        return this.#beginUpload(request, target);
      case 'UploadPart': {
        if (request.headers['x-amz-copy-source'] !== undefined)
          throw new S3Refusal(501, 'NotImplemented', 'The embedded origin does not copy parts.');
        const { body, stated } = await readUpload(request);
        const number = Number(target.query.get('partNumber'));
        const etag = this.#uploads.part(target.query.get('uploadId')!, number, body, stated);
        return { status: 200, headers: { ETag: `"${etag}"`, ...stated }, length: 0 };
      }
      case 'CompleteMultipartUpload':
        return this.#completeUpload(request, target);
      case 'AbortMultipartUpload':
        this.#uploads.abort(target.query.get('uploadId')!);
        return { status: 204, headers: {}, length: 0 };
      case 'DeleteObject':
        this.#table.remove(target.bucket, target.key);
        return { status: 204, headers: {}, length: 0 };
      default:
        return this.#getObject(request, target, fault);
    }
  }

  #getObject(request: IncomingMessage, target: Target, fault: Fault | undefined): Answer {
    const versionId = this.#versioned ? (target.query.get('versionId') ?? undefined) : undefined;
    const object = this.#table.find(target.bucket, target.key, versionId);
    if (object === undefined) {
      if (versionId !== undefined) throw new S3Refusal(404, 'NoSuchVersion', 'The specified version does not exist.');
      throw new S3Refusal(404, 'NoSuchKey', 'The specified key does not exist.');
    }
    const shift = fault?.kind === 'wrong-range' ? fault : undefined;
    const partNumber = target.query.get('partNumber');
    return objectAnswer(this.#table, object, {
      isHead: request.method === 'HEAD',
      header: (name) => {
        const value = request.headers[name];
        return Array.isArray(value) ? value.join(',') : value;
      },
      versioned: this.#versioned,
      checksums: this.#checksums,
      ...(partNumber === null ? {} : { partNumber: Number(partNumber) }),
      ignoreRange: fault?.kind === 'whole-body',
      shift: {
        headBytes: shift !== undefined && shift.where !== 'body' ? shift.shiftBytes : 0,
        bodyBytes: shift !== undefined && shift.where !== 'head' ? shift.shiftBytes : 0,
      },
    });
  }

  async #putObject(request: IncomingMessage, target: Target): Promise<Answer> {
    const { body, stated } = await readUpload(request);
    const contentType = request.headers['content-type'];
    const object = this.#table.put(target.bucket, {
      key: target.key,
      body,
      lastModifiedMs: Date.now(),
      stated,
      ...(contentType === undefined ? {} : { contentType }),
    });
    const headers: Record<string, string> = { ETag: `"${this.#table.etagOf(object)}"` };
    if (this.#versioned) headers['x-amz-version-id'] = versionIdOf(object);
    return { status: 200, headers, length: 0 };
  }

  #beginUpload({ headers }: IncomingMessage, { bucket, key }: Target): Answer {
    const algorithm = headers['x-amz-checksum-algorithm'];
    const id = this.#uploads.begin({
      ...{ bucket, key, contentType: headers['content-type'] },
      algorithm: Array.isArray(algorithm) ? algorithm[0] : algorithm,
    });
    const text = element('Bucket', bucket) + element('Key', key) + element('UploadId', id);
    return xmlAnswer(200, xmlDocument('InitiateMultipartUploadResult', text), false);
  }

  async #completeUpload(request: IncomingMessage, { bucket, key, query }: Target): Promise<Answer> {
    const document = (await readBody(request)).toString('utf8');
    const { contentType, ...completed } = this.#uploads.complete(query.get('uploadId')!, document);
    const object = this.#table.put(bucket, {
      ...{ key, lastModifiedMs: Date.now(), ...completed },
      ...(contentType === undefined ? {} : { contentType }),
    });
    const etag = element('ETag', `"${this.#table.etagOf(object)}"`);
    return xmlAnswer(
      200,
      xmlDocument('CompleteMultipartUploadResult', element('Bucket', bucket) + element('Key', key) + etag),
      false,
    );
  }

  #bucketsXml(): string {
    const created = new Date(Date.UTC(2026, 0, 1)).toISOString();
    const buckets = this.#table
      .bucketNames()
      .map((name) => `<Bucket>${element('Name', name)}${element('CreationDate', created)}</Bucket>`);
    const owner = '<Owner><ID>primed</ID><DisplayName>primed</DisplayName></Owner>';
    return xmlDocument('ListAllMyBucketsResult', `${owner}<Buckets>${buckets.join('')}</Buckets>`);
  }
}
