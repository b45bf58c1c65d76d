/** A certificate authority of a test, and certificates for 127.0.0.1 that it signed, as files. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface SignedFiles {
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
}

export interface Authority {
  readonly caFile: string;
  /** For server and client, with `name` as its common name where that is not empty. */
  sign(name: string): SignedFiles;
}

const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

/** Files lie in `dir`, which must exist, and begin with `name`. */
export function makeAuthority(dir: string, name: string): Authority {
  const openssl = (...args: string[]): void => void execFileSync('openssl', args, { stdio: 'pipe' });
  const [caKey, caFile] = [join(dir, `${name}-ca.key`), join(dir, `${name}-ca.pem`)];
  openssl('req', '-x509', ...curve, '-days', '2', '-subj', `/CN=${name}`, '-keyout', caKey, '-out', caFile);
  let made = 0;
  return {
    caFile,
    sign(commonName) {
      made += 1;
      const at = (suffix: string): string => join(dir, `${name}-${made}.${suffix}`);
      writeFileSync(
        at('ext'),
        'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n',
      );
      const subject = commonName === '' ? '/O=primed' : `/CN=${commonName}`;
      openssl('req', ...curve, '-subj', subject, '-keyout', at('key'), '-out', at('csr'));
      const signed = ['-CA', caFile, '-CAkey', caKey, '-CAcreateserial', '-days', '2', '-extfile', at('ext')];
      openssl('x509', '-req', '-in', at('csr'), ...signed, '-out', at('pem'));
      return { caFile, certFile: at('pem'), keyFile: at('key') };
    },
  };
}
