/** Lists of revoked certificates by openssl, as the keeper of a CA makes them. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Certificate } from './certificate.ts';

export interface ListOptions {
  /** Certificates, PEM. */
  readonly revoked?: readonly string[];
  /** Until it ends; negative: it has ended. */
  readonly seconds?: number;
  /** More words of `openssl ca`. */
  readonly more?: readonly string[];
  /** Lines of the section of extensions. */
  readonly extensions?: string;
}

/** PEM. Each one is a second younger than the one before. */
export function revocationList(
  ca: Certificate,
  { revoked = [], seconds = 3600, more = [], extensions = '' }: ListOptions = {},
): string {
  const dir = mkdtempSync(join(tmpdir(), 'primed-crl-'));
  const at = (file: string): string => join(dir, file);
  const openssl = (...words: readonly string[]): void => {
    execFileSync('openssl', words, { stdio: ['ignore', 'ignore', 'pipe'] });
  };
  try {
    const settings = `[ca]\ndefault_ca=d\n[d]\ndatabase=${at('index')}\ncrlnumber=${at('number')}\ndefault_md=sha256\n[x]\n${extensions}\n`;
    const files = { settings, index: '', number: '01\n', 'ca.pem': ca.cert, 'ca.key': ca.key };
    for (const [name, text] of Object.entries(files)) writeFileSync(at(name), text);
    const how = ['ca', '-config', at('settings'), '-cert', at('ca.pem'), '-keyfile', at('ca.key'), ...more];
    for (const one of revoked) {
      writeFileSync(at('revoked'), one);
      openssl(...how, '-revoke', at('revoked'));
    }
    const endsMs = Date.now() + seconds * 1000;
    const madeMs = Math.min(Date.now(), endsMs) - 3_600_000 + made++ * 1000;
    const span = ['-crl_lastupdate', dateOf(madeMs), '-crl_nextupdate', dateOf(endsMs)];
    openssl(...how, '-gencrl', ...span, ...(extensions === '' ? [] : ['-crlexts', 'x']), '-out', at('list'));
    return readFileSync(at('list'), 'utf8');
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

let made = 0;

/** YYYYMMDDHHMMSSZ */
function dateOf(atMs: number): string {
  return `${new Date(atMs).toISOString().replace(/[-:T]|\..*/g, '')}Z`;
}
