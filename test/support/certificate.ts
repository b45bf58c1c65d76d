/** Certificates for `localhost` and 127.0.0.1, by openssl: nobody trusts them who was not given theirs, or their CA's. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** PEM texts. */
export interface Certificate {
  readonly key: string;
  readonly cert: string;
}

/** Its own CA. */
export function makeCertificate(days = 2): Certificate {
  return inFolder((dir) => issue(dir, 'self', ['-days', `${days}`]));
}

/** Its own CA. @param names as in `subjectAltName` */
export function certificateFor(names: string): Certificate {
  return inFolder((dir) => issue(dir, 'self', [], curve, names));
}

/** A CA, and what it signs. */
export interface Authority extends Certificate {
  /** Of a node: for servers and for clients. */
  sign(name: string, days?: number): Certificate;
}

/** @param kind words behind `openssl req -newkey` */
export function makeAuthority(name: string, kind: readonly string[] = curve): Authority {
  return inFolder((dir) => {
    const ca = issue(dir, name, ['-addext', 'basicConstraints=critical,CA:TRUE'], kind);
    return {
      ...ca,
      sign: (node, days = 2) => signedBy(ca, node, days),
    };
  });
}

export function signedBy(by: Certificate, name: string, days = 2): Certificate {
  return inFolder((dir) => {
    writeFileSync(join(dir, 'by-key'), by.key);
    writeFileSync(join(dir, 'by-cert'), by.cert);
    return issue(dir, name, ['-CA', join(dir, 'by-cert'), '-CAkey', join(dir, 'by-key'), '-days', `${days}`]);
  });
}

const curve: readonly string[] = ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
const local = 'DNS:localhost,IP:127.0.0.1';

function issue(dir: string, name: string, more: readonly string[], kind = curve, alternatives = local): Certificate {
  const [key, cert] = [join(dir, 'key'), join(dir, 'cert')];
  const names = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=${alternatives}`];
  execFileSync(
    'openssl',
    // Of an option that is there twice the last one counts.
    ['req', '-x509', '-newkey', ...kind, '-nodes', '-days', '2', ...names, ...more, '-keyout', key, '-out', cert],
    { stdio: 'ignore' },
  );
  return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
}

function inFolder<T>(act: (dir: string) => T): T {
  const dir = mkdtempSync(join(tmpdir(), 'primed-tls-'));
  try {
    return act(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
