/** Which certificates of the CAs that a node trusts are revoked, by the lists of these CAs. */
import type { X509Certificate } from 'node:crypto';
import { certificatesIn } from './certificate-chain.ts';
import { DerError } from './der.ts';
import { isListOf, parseRevocationList, type RevocationList, serialOf } from './revocation-list.ts';

export interface ListEnd {
  /** What the CA calls itself. */
  readonly ca: string;
  readonly revoked: number;
  /** Milliseconds since the epoch; undefined: never. */
  readonly endsMs: number | undefined;
}

export class Revocations {
  /** As they were given: two of the same texts say the same. */
  readonly pem: string;
  readonly #ca: string;
  /** By the fingerprint of the CA. Of several lists of one CA the newest. */
  readonly #byCa = new Map<string, RevocationList>();
  /** Issuers of lists that none of the CAs has signed. */
  readonly unsigned: readonly string[];

  /**
   * @param pem one or several lists. Throws DerError for what is none.
   * @param ca certificates (PEM) of those whose lists count
   */
  constructor(pem: string, ca: string) {
    this.pem = pem;
    this.#ca = ca;
    const trusted = certificatesIn(ca);
    const unsigned: string[] = [];
    for (const list of listsIn(pem)) {
      const issuers = trusted.filter((one) => isListOf(list, one));
      if (issuers.length === 0) unsigned.push(list.issuerName);
      for (const { fingerprint256 } of issuers) {
        const before = this.#byCa.get(fingerprint256);
        if (before === undefined || before.madeMs < list.madeMs) this.#byCa.set(fingerprint256, list);
      }
    }
    this.unsigned = unsigned;
  }

  /** One for each list that counts. */
  get ends(): readonly ListEnd[] {
    return [...new Set(this.#byCa.values())].map(({ issuerName, serials, endsMs }) => ({
      ...{ ca: issuerName, revoked: serials.size, endsMs },
    }));
  }

  /**
   * Why a certificate does not count, in a few words; undefined: nothing is said against it. As OpenSSL has it, a list that has ended
   * says of no certificate of its CA that it is not revoked. A CA without a list has revoked nothing.
   * @param chain the certificate, and behind each one who has signed it
   */
  problemOf(chain: readonly X509Certificate[], nowMs: number): string | undefined {
    for (const [at, { serialNumber, subject }] of chain.entries()) {
      const list = this.#byCa.get(chain[at + 1]?.fingerprint256 ?? '');
      if (list === undefined) continue;
      if (list.serials.has(serialOf(serialNumber)))
        return at === 0
          ? 'it has been revoked'
          : `the CA in between (${subject.replaceAll('\n', ', ')}) has been revoked`;
      if (list.endsMs !== undefined && list.endsMs <= nowMs)
        return `the revocation list of its CA (${list.issuerName}) has ended`;
    }
    return undefined;
  }

  /** What is compared to know whether something has changed. */
  toJSON(): readonly string[] {
    return [this.pem, this.#ca];
  }
}

function listsIn(pem: string): RevocationList[] {
  const found = [...pem.matchAll(/-----BEGIN X509 CRL-----([^-]+)-----END X509 CRL-----/g)];
  // One that is cut off would else revoke nothing.
  if (found.length !== pem.split('-----BEGIN X509 CRL-----').length - 1) throw new DerError('it is cut off');
  return found.map(([, text]) => parseRevocationList(Buffer.from(text!, 'base64')));
}
