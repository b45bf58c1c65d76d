/**
 * One list of revoked certificates (RFC 5280, 5): what it says, and who has signed it. Node reads none, and gives OpenSSL those of
 * a connection only.
 *
 * Of 20,000 certificates a general parser of ASN.1 takes a second and a half of the event loop, this one some milliseconds.
 */
import { constants, verify, type X509Certificate } from 'node:crypto';
import { type Der, DerError, derAt, derTags, expectPart, partsOf, timeOf } from './der.ts';

export interface RevocationList {
  /** What its issuer calls itself: DER in hex. */
  readonly issuer: string;
  /** The same for people. */
  readonly issuerName: string;
  readonly madeMs: number;
  /** Milliseconds since the epoch, from when on it says nothing any more; undefined: it says no such time. */
  readonly endsMs: number | undefined;
  /** As `serialOf` writes them. */
  readonly serials: ReadonlySet<string>;
  readonly signed: { readonly what: Buffer; readonly algorithm: Buffer; readonly signature: Buffer };
}

const { sequence, integer, bits, boolean, utcTime, time, oid } = derTags;
const extensionsTag = 0xa0;

/** Throws DerError for what is no whole list: also for those of a part of the certificates, and of changes alone. */
export function parseRevocationList(der: Buffer): RevocationList {
  const whole = derAt(der);
  if (whole.tag !== sequence || whole.whole.length !== der.length) throw new DerError('it is no list');
  const parts = partsOf(whole);
  const [list, algorithm, signature] = [
    expectPart(parts, sequence),
    expectPart(parts, sequence),
    expectPart(parts, bits),
  ];
  // The first byte of bits says how many of the last one do not count.
  if (signature.content[0] !== 0) throw new DerError('its signature is none');
  const fields = [...partsOf(list)];
  if (fields[0]?.tag === integer) fields.shift();
  const rest = fields.values();
  if (!expectPart(rest, sequence).whole.equals(algorithm.whole)) throw new DerError('it names two algorithms');
  const issuer = expectPart(rest, sequence);
  const madeMs = timeOf(expectPart(rest, utcTime, time));
  const others = [...rest];
  const end = others[0]?.tag === utcTime || others[0]?.tag === time ? others.shift() : undefined;
  const entries = others[0]?.tag === sequence ? others.shift() : undefined;
  const extensions = others.shift();
  if (others.length > 0 || (extensions !== undefined && extensions.tag !== extensionsTag))
    throw new DerError('it has something in it that is none of a list');
  if (extensions !== undefined) refuseCritical(derAt(extensions.content));
  const serials = new Set<string>();
  for (const revoked of entries === undefined ? [] : partsOf(entries)) {
    const [serial, , more] = partsOf(revoked);
    if (serial?.tag !== integer) throw new DerError('an entry has no serial number');
    if (more !== undefined) refuseCritical(more);
    serials.add(serialOf(serial.content.toString('hex')));
  }
  return {
    issuer: issuer.whole.toString('hex'),
    issuerName: nameIn(issuer),
    madeMs,
    endsMs: end === undefined ? undefined : timeOf(end),
    serials,
    signed: { what: list.whole, algorithm: algorithm.whole, signature: signature.content.subarray(1) },
  };
}

/** Hex digits, as X509Certificate has them or as they stand in DER, without what does not count. */
export function serialOf(hex: string): string {
  return hex.toUpperCase().replace(/^0+/, '');
}

/** Whether it is that of this CA: by its name, and by the signature. */
export function isListOf({ issuer, signed }: RevocationList, ca: X509Certificate): boolean {
  if (!ca.ca || issuer !== subjectOf(ca)) return false;
  const { what, algorithm, signature } = signed;
  const [digest, pss] = algorithmOf(derAt(algorithm));
  const padding = pss
    ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO }
    : undefined;
  try {
    return digest !== undefined && verify(digest, what, { key: ca.publicKey, ...padding }, signature);
  } catch {
    // Another kind of key than the algorithm wants.
    return false;
  }
}

/** What a certificate calls itself: DER in hex. */
function subjectOf(certificate: X509Certificate): string {
  const [, , , , subject] = [...partsOf(derAt(derAt(certificate.raw).content))].filter(
    ({ tag }) => tag !== extensionsTag,
  );
  return subject!.whole.toString('hex');
}

/** What it says makes it another kind of list, which this one cannot be taken for. */
function refuseCritical(extensions: Der): void {
  for (const extension of partsOf(extensions)) {
    const [, critical] = partsOf(extension);
    if (critical?.tag === boolean && critical.content[0] !== 0)
      throw new DerError('it is of a part of the certificates, or of changes alone: a complete list is needed');
  }
}

/** Names of algorithms in hex, and their digests; null: they have one of their own. SHA-1 is none that proves something. */
const digests: ReadonlyMap<string, string | null> = new Map([
  ['2a864886f70d01010b', 'sha256'],
  ['2a864886f70d01010c', 'sha384'],
  ['2a864886f70d01010d', 'sha512'],
  ['2a8648ce3d040302', 'sha256'],
  ['2a8648ce3d040303', 'sha384'],
  ['2a8648ce3d040304', 'sha512'],
  ['2b6570', null],
  ['2b6571', null],
]);
const pssName = '2a864886f70d01010a';
const pssDigests: ReadonlyMap<string, string> = new Map([
  ['608648016503040201', 'sha256'],
  ['608648016503040202', 'sha384'],
  ['608648016503040203', 'sha512'],
]);

/** @returns the digest, undefined: none that counts; and whether it is RSASSA-PSS */
function algorithmOf(algorithm: Der): [string | null | undefined, boolean] {
  const [name, parameters] = partsOf(algorithm);
  const id = name?.tag === oid ? name.content.toString('hex') : '';
  if (id !== pssName) return [digests.get(id), false];
  // [0] of the parameters has the algorithm of the digest, which is SHA-1 where it is absent.
  const [digest] = parameters === undefined ? [] : partsOf(parameters);
  const [inside] = digest?.tag === extensionsTag ? partsOf(derAt(digest.content)) : [];
  return [pssDigests.get(inside?.content.toString('hex') ?? ''), true];
}

/** The texts of a name, the last one first: `people, example, DE`. */
function nameIn(name: Der): string {
  const texts = [...partsOf(name)].flatMap((set) =>
    [...partsOf(set)].map((pair) => {
      const [, value] = partsOf(pair);
      return value?.content.toString('utf8') ?? '';
    }),
  );
  return texts.reverse().join(', ');
}
