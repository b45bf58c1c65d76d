/** Failures as S3 says them: one row per code, and the XML document that carries one. */
import { PrimedError } from '../../core/errors.ts';
import { document, element } from './xml.ts';

/** HTTP status of each code. `FileNotCached` and `FileLoading` are ours; the others are Amazon's. */
const statusOf = {
  AccessDenied: 403,
  AuthorizationHeaderMalformed: 400,
  AuthorizationQueryParametersError: 400,
  BadDigest: 400,
  BadRequest: 400,
  EntityTooLarge: 400,
  ExpiredToken: 400,
  IncompleteBody: 400,
  InvalidAccessKeyId: 403,
  InvalidDigest: 400,
  InvalidRequest: 400,
  InvalidToken: 400,
  RequestHeaderSectionTooLarge: 400,
  RequestTimeTooSkewed: 403,
  RequestTimeout: 400,
  SignatureDoesNotMatch: 403,
  FileLoading: 503,
  FileNotCached: 404,
  InternalError: 500,
  InvalidArgument: 400,
  InvalidPart: 400,
  InvalidPartNumber: 416,
  InvalidRange: 416,
  InvalidURI: 400,
  KeyTooLongError: 400,
  MalformedXML: 400,
  MethodNotAllowed: 405,
  MissingContentLength: 411,
  NoSuchBucket: 404,
  NoSuchKey: 404,
  NoSuchVersion: 404,
  NotImplemented: 501,
  PreconditionFailed: 412,
  ServiceUnavailable: 503,
  SlowDown: 503,
  XAmzContentSHA256Mismatch: 400,
} as const;
export type S3Code = keyof typeof statusOf;

export class S3Error extends Error {
  readonly code: S3Code;
  /** Further elements of the error document. */
  readonly details: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    code: S3Code,
    message: string,
    more: { details?: Record<string, string>; headers?: Record<string, string>; cause?: unknown } = {},
  ) {
    super(message, { cause: more.cause });
    this.name = 'S3Error';
    this.code = code;
    this.details = more.details ?? {};
    this.headers = more.headers ?? {};
  }

  get httpStatus(): number {
    return statusOf[this.code];
  }
}

/** A page that fails its checksum is 500 with a message that says so; what nobody foresaw says nothing of the inside. */
export function s3ErrorOf(error: unknown): S3Error {
  if (error instanceof S3Error) return error;
  if (error instanceof PrimedError) {
    if (error.code === 'STOPPING' || error.code === 'PEER_FAILED')
      return new S3Error('ServiceUnavailable', error.message, { cause: error });
    if (error.code === 'TOO_BUSY') return new S3Error('SlowDown', error.message, { cause: error });
    if (error.code === 'ORIGIN_DENIED') return new S3Error('AccessDenied', error.message, { cause: error });
    if (error.code === 'ORIGIN_NOT_FOUND') return new S3Error('NoSuchKey', error.message, { cause: error });
    // Whatever else is wrong with the origin, or changes there, may be right when it is asked again.
    if (error.code.startsWith('ORIGIN_')) return new S3Error('ServiceUnavailable', error.message, { cause: error });
    if (error.code === 'FILE_NOT_CACHED') return new S3Error('NoSuchKey', error.message, { cause: error });
    return new S3Error('InternalError', `${error.code}: ${error.message}`, { cause: error });
  }
  return new S3Error('InternalError', 'We encountered an internal error. The log has its cause.', { cause: error });
}

export function errorXml(error: S3Error, request: { id: string; resource: string }): string {
  const details = Object.entries(error.details).map(([name, value]) => element(name, value));
  return document(
    `<Error>${element('Code', error.code)}${element('Message', error.message)}${details.join('')}${element('Resource', request.resource)}${element('RequestId', request.id)}${element('HostId', 'primed')}</Error>`,
  );
}
