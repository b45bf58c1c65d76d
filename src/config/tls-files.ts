/** Keys and certificates in files: what they hold, and everything that is wrong with them. */
import { X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { checkServerIdentity, createSecureContext } from 'node:tls';
import { certificatesIn } from '../core/certificate-chain.ts';
import { DerError } from '../core/der.ts';
import { reportOf } from '../core/errors.ts';
import type { ClientTls } from '../core/node-tls.ts';
import { Revocations } from '../core/revocations.ts';

export interface TlsFiles {
  readonly caFile?: string | undefined;
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
}

export interface TlsProblem {
  readonly setting: 'ca_file' | 'cert_file' | 'key_file';
  readonly problem: string;
}

export interface ReadTls {
  readonly pem: ClientTls;
  readonly problems: readonly TlsProblem[];
  /** Of the first certificate in `certFile`; undefined: there is none. */
  readonly endsMs?: number;
}

/** The CA of people and programs. @param nodeCa of nodes, where they show certificates: whoever one of those signs is a node */
export function readClientCa(
  file: string | undefined,
  nodeCa: string | undefined,
): { readonly pem?: string; readonly problem?: string } {
  if (file === undefined) return {};
  const { pem, problems } = readTlsFiles({ caFile: file });
  if (pem.ca === undefined || problems[0] !== undefined) return { problem: problems[0]?.problem ?? 'cannot be read' };
  const [mine, nodes] = [pem.ca, nodeCa ?? ''].map(fingerprintsIn) as [string[], string[]];
  if (mine.some((one) => nodes.includes(one)))
    return { problem: `${file} has a certificate of tls.ca_file, which signs nodes: people need a CA of their own` };
  return { pem: pem.ca };
}

function fingerprintsIn(pem: string): string[] {
  return certificatesIn(pem).map(({ fingerprint256 }) => fingerprint256);
}

export interface OwnNode {
  readonly role: string;
  readonly backend: string;
  /** By which others call it. */
  readonly host: string;
  readonly nodes: 'token' | 'mtls';
}

/** Why other nodes refuse a certificate that is right by itself. */
export function problemsWithOwn({ cert, ca }: ClientTls, { role, backend, host, nodes }: OwnNode): TlsProblem[] {
  if (cert === undefined) return [];
  const problems: string[] = [];
  if (nodes === 'mtls' && ca !== undefined && !isSignedBy(cert, ca))
    problems.push('is not signed by the CA in tls.ca_file, so that other nodes refuse it; have that one sign it');
  // Other nodes call workers by their hosts, and of coordinators those on etcd.
  const called = role === 'worker' || (role === 'coordinator' && backend === 'etcd');
  if (called && !isFor(cert, host))
    problems.push(
      `is not for ${host}, by which other nodes call this one; have one made that names it, or set cluster.host`,
    );
  return problems.map((problem) => ({ setting: 'cert_file', problem: `the certificate ${problem}` }));
}

/**
 * Whether those who trust `ca` trust the first certificate of `cert`, perhaps by others that stand behind it. Both in PEM.
 * Only signatures are looked at.
 */
function isSignedBy(cert: string, ca: string): boolean {
  const trusted = certificatesIn(ca);
  const [first, ...between] = certificatesIn(cert);
  let one = first;
  // Each step uses one certificate up.
  for (let steps = between.length; one !== undefined && steps >= 0; steps--) {
    const { fingerprint256 } = one;
    const signs = (other: X509Certificate): boolean => one!.checkIssued(other) && one!.verify(other.publicKey);
    if (trusted.some((other) => other.fingerprint256 === fingerprint256 || signs(other))) return true;
    one = between.find(signs);
  }
  return false;
}

/** Whether the first certificate of `cert` (PEM) is for a host name or an address, as connections ask: `checkHost` is stricter. */
function isFor(cert: string, host: string): boolean {
  const [first] = certificatesIn(cert);
  return first !== undefined && checkServerIdentity(host, first.toLegacyObject()) === undefined;
}

/** More is no list: one of 100,000 certificates has 4 MiB. */
const mostListBytes = 32 * 1024 * 1024;

/** What is revoked. @param ca certificates (PEM) of those whose lists count */
export function readRevocations(
  file: string | undefined,
  ca: readonly (string | undefined)[],
): { readonly revocations?: Revocations; readonly problem?: string } {
  if (file === undefined) return {};
  try {
    if (statSync(file).size > mostListBytes) return { problem: `${file} is longer than any list` };
    const pem = readFileSync(file, 'utf8');
    if (!pem.includes('-----BEGIN X509 CRL-----')) return { problem: `${file} has no list in PEM (X509 CRL)` };
    const revocations = new Revocations(pem, ca.filter((one) => one !== undefined).join('\n'));
    const [stranger] = revocations.unsigned;
    if (stranger === undefined) return { revocations };
    return {
      problem: `${file} has a list of "${stranger}", which no CA of tls.client_ca_file or tls.ca_file has signed; take it out, or name that CA there`,
    };
  } catch (error) {
    if (error instanceof DerError) return { problem: `${file} has a list that cannot be read: ${error.message}` };
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    return { problem: missing ? `there is no file ${file}` : `cannot be read: ${reportOf(error).message}` };
  }
}

/** @param nowMs milliseconds since the epoch */
export function readTlsFiles({ caFile, certFile, keyFile }: TlsFiles, nowMs = Date.now()): ReadTls {
  const problems: TlsProblem[] = [];
  const complain = (setting: TlsProblem['setting'], problem: string): void => void problems.push({ setting, problem });
  const read = (setting: TlsProblem['setting'], file: string | undefined): string | undefined => {
    try {
      return file === undefined ? undefined : readFileSync(file, 'utf8');
    } catch (error) {
      const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
      complain(setting, missing ? `there is no file ${file}` : `cannot be read: ${reportOf(error).message}`);
      return undefined;
    }
  };
  const [written, cert, key] = [read('ca_file', caFile), read('cert_file', certFile), read('key_file', keyFile)];
  const problemWithKey = (text: string, why: string): string =>
    /ENCRYPTED/.test(text)
      ? `${keyFile} has a passphrase, which nobody could type; write it without one: openssl pkey -in ${keyFile} -out FILE`
      : `${keyFile} is not the key of ${certFile} (${why})`;
  const caWrong = written === undefined ? undefined : wrongIn({ ca: written });
  if (caWrong !== undefined) complain('ca_file', `${caFile} has no certificates in PEM (${caWrong})`);
  const all = caWrong === undefined && written !== undefined ? readAll(written) : [];
  if ('unreadable' in all)
    complain('ca_file', `${caFile} has a certificate that cannot be read (${all.unreadable}); mend it, or take it out`);
  // Of other forms, as TRUSTED CERTIFICATE, nobody looks at the time.
  else if (all.length > 0 && all.every(({ validTo }) => Date.parse(validTo) <= nowMs))
    complain('ca_file', `nothing in ${caFile} is valid any more; put the certificates of today's CA in its place`);
  // Who reads it again can read all of it.
  const ca = caWrong === undefined && !('unreadable' in all) ? written : undefined;
  const certWrong = cert === undefined ? undefined : wrongIn({ cert });
  if (certWrong !== undefined) complain('cert_file', `${certFile} has no certificate in PEM (${certWrong})`);
  if (cert === undefined || certWrong !== undefined) return { pem: pemOf({ ca, cert, key }), problems };
  const keyWrong = key === undefined ? undefined : wrongIn({ cert, key });
  if (key !== undefined && keyWrong !== undefined) complain('key_file', problemWithKey(key, keyWrong));
  const { validFrom, validTo } = new X509Certificate(cert);
  const endsMs = Date.parse(validTo);
  if (endsMs <= nowMs) complain('cert_file', `${certFile} has expired (${validTo}); put a new one in its place`);
  if (Date.parse(validFrom) > nowMs) complain('cert_file', `${certFile} begins to be valid only at ${validFrom}`);
  return { pem: pemOf({ ca, cert, key }), problems, endsMs };
}

/** A connection takes those before one that is damaged, and says nothing of the rest. */
function readAll(pem: string): X509Certificate[] | { readonly unreadable: string } {
  try {
    return certificatesIn(pem);
  } catch (error) {
    return { unreadable: reportOf(error).message };
  }
}

function pemOf(texts: Record<'ca' | 'cert' | 'key', string | undefined>): ClientTls {
  return Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== undefined));
}

function wrongIn(pem: ClientTls): string | undefined {
  try {
    // One that has no certificate in it is taken for an empty list.
    if (pem.ca !== undefined) new X509Certificate(pem.ca);
    createSecureContext(pem);
    return undefined;
  } catch (error) {
    return reportOf(error).message;
  }
}
