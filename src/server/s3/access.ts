/** Who may ask the S3 port for what: keys, each with the prefixes that it is for, and whether nobody in particular may. */
import { timingSafeEqual } from 'node:crypto';
import { S3Error } from './errors.ts';
import { type Judgement, type S3Credentials, SignatureJudge, type SignatureProof } from './signature.ts';
import type { SignedRequest } from './signing.ts';

export interface S3Key extends S3Credentials {
  /** `s3://bucket/…`: what begins with one of them. Empty: everything. */
  readonly prefixes: readonly string[];
  /** Whether it is for writing too. */
  readonly writes?: boolean;
}

export interface S3AccessOptions {
  /** None: signatures are not looked at. */
  readonly keys: readonly S3Key[];
  /** Whether unsigned requests are answered although there are keys. */
  readonly anonymous: boolean;
}

/** Carries what threads of this process know each other by. */
export const insideHeader = 'x-primed-inside';

/** What one caller may see. */
export interface Sight {
  /** Whether anybody in particular asks; where signatures are not looked at, everybody is. */
  readonly signed: boolean;
  /** `s3://bucket/key`, or of a listing `s3://bucket/prefix`. */
  reads(path: string): boolean;
  /** Whether it may be written, where writes are passed through at all. */
  writes(path: string): boolean;
  /** What the chunks of the body are signed on. Undefined: chunks are not looked at, or not signed. */
  readonly proof?: SignatureProof;
  /** Whether any path of the bucket may be read. */
  knows(bucket: string): boolean;
}

const everything: Sight = { signed: true, reads: () => true, writes: () => true, knows: () => true };
/** Reads what is there; who writes says who he is. */
const anybody: Sight = { ...everything, signed: false, writes: () => false };

export class S3Access {
  readonly #options: S3AccessOptions;
  #keys: readonly S3Key[] = [];
  #judge: SignatureJudge<S3Key> | undefined;

  readonly #inside: Buffer | undefined;

  /**
   * @param options may be changed in place (core/live)
   * @param inside what threads of this process say of a request whose sender they have judged themselves
   */
  constructor(options: S3AccessOptions, inside?: string) {
    this.#options = options;
    this.#inside = inside === undefined ? undefined : Buffer.from(inside);
  }

  /**
   * Throws S3Error, as S3 does, for a signature that does not hold, and for none where one is asked for.
   * @param resourcePath `/bucket/key` as it was sent
   */
  sight(request: SignedRequest, resourcePath: string, nowMs = Date.now()): Sight {
    const { keys, anonymous } = this.#options;
    if (keys !== this.#keys) {
      this.#judge = keys.length === 0 ? undefined : new SignatureJudge(keys);
      this.#keys = keys;
    }
    if (this.#judge === undefined || this.#isInside(request)) return everything;
    const judgement: Judgement<S3Key> = this.#judge.judge(request, nowMs, resourcePath);
    if (judgement.kind === 'refused') throw new S3Error(judgement.refusal.code, judgement.refusal.message);
    if (judgement.kind === 'signed') return sightOf(judgement.by, judgement.proof);
    if (anonymous) return anybody;
    throw new S3Error('AccessDenied', 'Access Denied: the request is not signed.');
  }

  #isInside({ headers }: SignedRequest): boolean {
    const said = headers[insideHeader];
    if (this.#inside === undefined || typeof said !== 'string') return false;
    const given = Buffer.from(said);
    return given.length === this.#inside.length && timingSafeEqual(given, this.#inside);
  }
}

function sightOf({ prefixes, writes = false }: S3Key, proof: SignatureProof | undefined): Sight {
  const reads = (path: string): boolean => prefixes.length === 0 || prefixes.some((prefix) => path.startsWith(prefix));
  return {
    signed: true,
    reads,
    writes: (path) => writes && reads(path),
    knows: (bucket) => prefixes.length === 0 || prefixes.some((prefix) => prefix.startsWith(`s3://${bucket}/`)),
    ...(proof && { proof }),
  };
}
