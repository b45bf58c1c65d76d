/** Errors of the AWS SDK and of sockets below it, as the causes that the rest of the origin speaks in. */
import { causeOfStatus, wordsOf } from './failure.ts';
import type { FailureCause, OriginFailure } from './types.ts';

const connectCodes: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'UND_ERR_CONNECT_TIMEOUT',
]);
const resetCodes: ReadonlySet<string> = new Set([
  'ECONNRESET',
  'EPIPE',
  'ECONNABORTED',
  'UND_ERR_SOCKET',
  'ERR_STREAM_PREMATURE_CLOSE',
]);
/** Of OpenSSL, as Node names them: the chain ends at nobody who is trusted. */
const untrustedCodes: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

interface SdkShape {
  name?: string;
  /** Of a DOMException a number. */
  code?: unknown;
  Code?: string;
  message?: string;
  cause?: unknown;
  $metadata?: { httpStatusCode?: number; requestId?: string };
  $response?: { statusCode?: number; headers?: Record<string, string> };
}

export function failureOfSdk(error: unknown): OriginFailure {
  const shape = reasonOf(
    (typeof error === 'object' && error !== null ? error : { message: String(error) }) as SdkShape,
  );
  const status = shape.$metadata?.httpStatusCode ?? shape.$response?.statusCode;
  const requestId = shape.$metadata?.requestId ?? shape.$response?.headers?.['x-amz-request-id'];
  const message = shape.message === undefined || shape.message === '' ? (shape.name ?? 'unknown error') : shape.message;
  if (status !== undefined && status >= 300) {
    const s3Code = s3CodeOf(shape, status);
    const cause = causeOfStatus(status, s3Code);
    return {
      cause,
      message: message === 'UnknownError' ? wordsOf(cause, s3Code) : message,
      httpStatus: status,
      ...(s3Code !== undefined && { s3Code }),
      ...(requestId !== undefined && { requestId }),
    };
  }
  const code = codeOf(shape);
  const hint = untrustedCodes.has(code) ? '; name its issuer by ca_file in [[ufs]] if you trust it' : '';
  return { cause: causeOfTransport(shape), message: code === 'EPROTO' ? tlsRefusal(message) : `${message}${hint}` };
}

/** Where a limit of time has passed the SDK says that its request was aborted, and behind that why. */
function reasonOf(shape: SdkShape): SdkShape {
  const why = (shape.cause ?? {}) as SdkShape;
  return shape.name === 'AbortError' && why.name === 'TimeoutError' ? why : shape;
}

/** OpenSSL writes `…:error:0A00010B:SSL routines:ssl3_get_record:wrong version number:file.c:350:` and a line feed. */
function tlsRefusal(message: string): string {
  const reason = /:SSL routines:[^:]*:([^:]+):/.exec(message)?.[1] ?? message.trim();
  return `the endpoint does not answer in TLS (${reason}); is its port one of http://?`;
}

/** The SDK names errors without a body after their status; that is no code of S3's. */
function s3CodeOf(shape: SdkShape, status: number): string | undefined {
  const code = shape.Code ?? shape.name;
  if (
    code === undefined ||
    code === 'Error' ||
    code === 'Unknown' ||
    code === 'UnknownError' ||
    code === 'NotFound' ||
    code === String(status)
  )
    return undefined;
  return code;
}

function codeOf(shape: SdkShape): string {
  const codes = [shape.code, ((shape.cause ?? {}) as SdkShape).code];
  return codes.find((code) => typeof code === 'string') ?? '';
}

function causeOfTransport(shape: SdkShape): FailureCause {
  const code = codeOf(shape);
  if (shape.name === 'CredentialsProviderError' || shape.name === 'TokenProviderError') return 'expired';
  if (shape.name === 'AbortError') return 'cancelled';
  if (
    connectCodes.has(code) ||
    code === 'EPROTO' ||
    code.startsWith('ERR_TLS') ||
    /certificate|self-signed/i.test(shape.message ?? '')
  )
    return 'connect';
  // Before the name: the SDK calls a reset a TimeoutError too.
  if (resetCodes.has(code)) return 'reset';
  if (code === 'ETIMEDOUT') return 'connect-timeout';
  if (code === 'UND_ERR_HEADERS_TIMEOUT') return 'first-byte-timeout';
  if (code === 'UND_ERR_BODY_TIMEOUT') return 'stall';
  if (shape.name === 'TimeoutError')
    return /connection|socket/i.test(shape.message ?? '') ? 'connect-timeout' : 'first-byte-timeout';
  return 'protocol';
}
