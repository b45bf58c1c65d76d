/**
 * Bodies in `aws-chunked`: what is between the frames, as it comes, with the signature of each chunk checked.
 *
 *   <hex size>[;chunk-signature=<64 hex>]\r\n <bytes> \r\n      repeated, the last of size 0 and without bytes
 *   <name>:<value>\r\n … [x-amz-trailer-signature:<64 hex>\r\n] \r\n   where a trailer was announced
 *
 * Bytes are given out before the signature of their chunk is known: who takes them must not make anything final of them before
 * the end has come. Source: "Signature Calculations for the Authorization Header: Transferring Payload in Multiple Chunks" and
 * "… Including trailing headers" in S3's API reference.
 */
import { createHash, createHmac, type Hash, timingSafeEqual } from 'node:crypto';
import { S3Error } from './errors.ts';
import type { SignatureProof } from './signature.ts';

/** Of the line before a chunk, and of one trailer: both are short. */
const mostLineBytes = 1024;
const mostTrailers = 16;
const emptySha256 = createHash('sha256').digest('hex');

export interface ChunkedOptions {
  /** Undefined: chunks carry no signature, or nobody looks at it. */
  readonly proof?: SignatureProof;
  /** Whether a trailer must come, and be signed where chunks are. */
  readonly trails?: boolean;
}

export class AwsChunked {
  readonly #proof: SignatureProof | undefined;
  readonly #trails: boolean;
  #previous: string;
  /** A line that has not ended. */
  #line = '';
  #left = 0;
  #state: 'size' | 'data' | 'afterData' | 'trailer' | 'end' = 'size';
  #hash: Hash | undefined;
  #signature = '';
  #signedTrailers = '';
  #trailerSignature: string | undefined;
  readonly trailers = new Map<string, string>();

  constructor({ proof, trails = false }: ChunkedOptions = {}) {
    this.#proof = proof;
    this.#trails = trails;
    this.#previous = proof?.signature ?? '';
  }

  /** What of the next bytes of the body is content. Throws S3Error: IncompleteBody, SignatureDoesNotMatch. */
  *take(bytes: Buffer): Generator<Buffer> {
    let at = 0;
    while (at < bytes.length) {
      if (this.#state === 'data') {
        const piece = bytes.subarray(at, at + this.#left);
        at += piece.length;
        this.#left -= piece.length;
        this.#hash?.update(piece);
        if (this.#left === 0) {
          this.#checkChunk();
          this.#state = 'afterData';
        }
        yield piece;
        continue;
      }
      const end = bytes.indexOf(0x0a, at);
      const until = end < 0 ? bytes.length : end + 1;
      if (this.#line.length + until - at > mostLineBytes) throw malformed('a line is too long');
      this.#line += bytes.toString('latin1', at, until);
      at = until;
      if (end < 0) return;
      if (!this.#line.endsWith('\r\n')) throw malformed('a line does not end as it must');
      const line = this.#line.slice(0, -2);
      this.#line = '';
      this.#take(line);
    }
  }

  /** To be called when the body has ended. */
  finish(): void {
    // Some clients leave out the last empty line.
    if (this.#state === 'trailer' && this.#line === '') this.#end();
    if (this.#state !== 'end') throw malformed('it ends before its last chunk');
  }

  #take(line: string): void {
    if (this.#state === 'afterData') {
      if (line !== '') throw malformed('a chunk is longer than it says');
      this.#state = 'size';
    } else if (this.#state === 'size') this.#open(line);
    else if (this.#state === 'trailer' && line === '') this.#end();
    else if (this.#state === 'trailer') this.#trailer(line);
    else if (line !== '') throw malformed('it goes on after its end');
  }

  #open(line: string): void {
    const match = /^([0-9a-fA-F]{1,12})(?:;chunk-signature=([0-9a-f]{64}))?$/.exec(line);
    if (match === null) throw malformed('a chunk does not begin with its size');
    const [, size, signature = ''] = match;
    if (this.#proof !== undefined && signature === '') throw mismatch();
    this.#signature = signature;
    this.#left = Number.parseInt(size!, 16);
    this.#hash = this.#proof === undefined ? undefined : createHash('sha256');
    if (this.#left > 0) {
      this.#state = 'data';
      return;
    }
    this.#checkChunk();
    this.#state = 'trailer';
  }

  #trailer(line: string): void {
    const colon = line.indexOf(':');
    if (colon <= 0 || this.trailers.size >= mostTrailers) throw malformed('a trailer is none');
    const name = line.slice(0, colon).trim().toLowerCase();
    const value = line.slice(colon + 1).trim();
    if (name === 'x-amz-trailer-signature') {
      this.#trailerSignature = value;
      return;
    }
    this.trailers.set(name, value);
    this.#signedTrailers += `${name}:${value}\n`;
  }

  #end(): void {
    this.#state = 'end';
    const isHere = this.trailers.size > 0 || this.#trailerSignature !== undefined;
    if (this.#trails && !isHere) throw malformed('its trailer is missing');
    if (this.#proof === undefined || !isHere) return;
    const digest = createHash('sha256').update(this.#signedTrailers).digest('hex');
    this.#check(this.#trailerSignature ?? '', 'AWS4-HMAC-SHA256-TRAILER', digest);
  }

  #checkChunk(): void {
    if (this.#proof === undefined || this.#hash === undefined) return;
    this.#check(this.#signature, 'AWS4-HMAC-SHA256-PAYLOAD', `${emptySha256}\n${this.#hash.digest('hex')}`);
    this.#previous = this.#signature;
  }

  #check(given: string, algorithm: string, digests: string): void {
    const { key, scope, amzDate } = this.#proof!;
    const text = [algorithm, amzDate, scope, this.#previous, digests].join('\n');
    const wanted = createHmac('sha256', key).update(text).digest();
    const said = Buffer.from(given, 'hex');
    if (said.length !== wanted.length || !timingSafeEqual(said, wanted)) throw mismatch();
  }
}

function malformed(why: string): S3Error {
  return new S3Error('IncompleteBody', `The body is not what aws-chunked is: ${why}.`);
}

function mismatch(): S3Error {
  return new S3Error('SignatureDoesNotMatch', 'The signature of a chunk of the body is not the one we calculated.');
}
