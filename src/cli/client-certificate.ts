/** The certificate that a person or program shows in place of a token: from flags, else from the environment. */
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
  if (cert === undefined && key !== undefined) throw wrong('--key', 'needs --cert beside it');
  if (cert !== undefined) {
    if (!speaksTls(coordinator))
      throw wrong(
        '--cert',
        `is shown over TLS only, and ${coordinator} has none; write https:// if the daemon speaks it`,
      );
    return read({ cert, key }, { cert: '--cert', key: '--key' }, nowMs);
  }
  const [certFile, keyFile] = [env[certificateVariables.cert], env[certificateVariables.key]];
  // It is there for every command, also for one that asks a daemon without TLS.
  if (!certFile || !speaksTls(coordinator)) return undefined;
  return read({ cert: certFile, key: keyFile || undefined }, certificateVariables, nowMs);
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
