/** The certificate that a person or program shows in place of a token: each file from its flag, else from the environment. */
import { readTlsFiles, type TlsProblem } from '../config/tls-files.ts';
import { PrimedError } from '../core/errors.ts';
import type { ClientTls } from '../core/node-tls.ts';

export interface CertificateFlags {
  readonly cert?: string;
  /** Absent: it is in the file of the certificate. */
  readonly key?: string;
}

export const certificateVariables = { cert: 'PRIMED_CERT_FILE', key: 'PRIMED_KEY_FILE' } as const;

/** Undefined: none is shown. Throws REQUEST_INVALID, saying which flag or variable and what to do. @param nowMs milliseconds since the epoch */
export function certificateOf(
  { cert, key }: CertificateFlags,
  env: Readonly<Record<string, string | undefined>>,
  coordinator: string,
  nowMs = Date.now(),
): Pick<ClientTls, 'cert' | 'key'> | undefined {
  const [certFile, keyFile] = [cert ?? env[certificateVariables.cert], key ?? env[certificateVariables.key]];
  const flag = cert !== undefined ? '--cert' : key !== undefined ? '--key' : undefined;
  if (!certFile && flag !== undefined) throw wrong(flag, `needs --cert or ${certificateVariables.cert} beside it`);
  if (!certFile) return undefined;
  if (!speaksTls(coordinator)) {
    // The variables are there for every command, also for one that asks a daemon without TLS.
    if (flag === undefined) return undefined;
    throw wrong(flag, `is shown over TLS only, and ${coordinator} has none; write https:// if the daemon speaks it`);
  }
  const keyOfFlags = key !== undefined || (!keyFile && cert !== undefined);
  const names = {
    cert: cert === undefined ? certificateVariables.cert : '--cert',
    key: keyOfFlags ? '--key' : certificateVariables.key,
  };
  return read({ cert: certFile, key: keyFile || undefined }, names, nowMs);
}

function read(
  files: { readonly cert: string; readonly key: string | undefined },
  names: Readonly<Record<'cert' | 'key', string>>,
  nowMs: number,
): Pick<ClientTls, 'cert' | 'key'> {
  const { pem, problems } = readTlsFiles({ certFile: files.cert, keyFile: files.key ?? files.cert }, nowMs);
  const [first] = problems;
  if (first === undefined && pem.cert !== undefined && pem.key !== undefined) return { cert: pem.cert, key: pem.key };
  const keyless =
    files.key === undefined && pem.key !== undefined && !/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem.key);
  if (keyless && first?.setting === 'key_file')
    throw wrong(names.cert, `${files.cert} has no key in it; name the file of its key by ${names.key}`);
  throw wrong(names[nameOf(first)], first?.problem ?? 'cannot be read');
}

const nameOf = (problem: TlsProblem | undefined): 'cert' | 'key' => (problem?.setting === 'key_file' ? 'key' : 'cert');
const speaksTls = (coordinator: string): boolean => /^\s*https:/i.test(coordinator);

function wrong(name: string, problem: string): PrimedError {
  return new PrimedError('REQUEST_INVALID', `${name}: ${problem}`, { field: name });
}
