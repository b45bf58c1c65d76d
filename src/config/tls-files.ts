/** Keys and certificates in files: what they hold, and everything that is wrong with them. */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { reportOf } from '../core/errors.ts';
import type { ClientTls } from '../core/node-tls.ts';

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

/** @param nowMs milliseconds since the epoch */
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
  return [...pem.matchAll(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)].map(
    ([one]) => new X509Certificate(one).fingerprint256,
  );
}

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
  const [ca, cert, key] = [read('ca_file', caFile), read('cert_file', certFile), read('key_file', keyFile)];
  const problemWithKey = (text: string, why: string): string =>
    /ENCRYPTED/.test(text)
      ? `${keyFile} has a passphrase, which nobody could type; write it without one: openssl pkey -in ${keyFile} -out FILE`
      : `${keyFile} is not the key of ${certFile} (${why})`;
  const caWrong = ca === undefined ? undefined : wrongIn({ ca });
  if (caWrong !== undefined) complain('ca_file', `${caFile} has no certificates in PEM (${caWrong})`);
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

function pemOf(texts: Record<keyof ClientTls, string | undefined>): ClientTls {
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
