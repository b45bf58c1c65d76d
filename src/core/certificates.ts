/** Certificates of people and programs: which subject has which role, and what a certificate calls itself. Pure. */
import type { TokenRole } from './roles.ts';

/** Exactly one of its names is looked for: `CN=alice`, `email:alice@example.org`, `DNS:host`, `URI:spiffe://…`. */
export interface NamedCertificate {
  readonly subject: string;
  readonly role: TokenRole;
}

export const subjectPattern = '^(CN=|DNS:|email:|URI:)[^\\u0000-\\u001f\\u007f]{1,256}$';
const mostNameLength = 200;

/** What Node says of a certificate. */
export interface ShownNames {
  /** Of a subject with several, a list. */
  readonly commonName: string | readonly string[] | undefined;
  /** `DNS:a, email:"b,c"`: a name with a comma or a quote is a JSON text. */
  readonly alternative: string | undefined;
}

/** Each name by which a configuration may know it. A subject with several common names has none. */
export function namesOf({ commonName, alternative = '' }: ShownNames): string[] {
  const names = typeof commonName === 'string' && commonName !== '' ? [`CN=${commonName}`] : [];
  for (const [, kind, value = ''] of alternative.matchAll(/(?:^|, )([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^,]*)/g)) {
    if (kind === 'DNS' || kind === 'email' || kind === 'URI') names.push(`${kind}:${unquoted(value)}`);
  }
  return names;
}

/** The role of the first entry that it has a name of; without one, what the log calls it. */
export function certificateCaller(
  names: readonly string[],
  known: readonly NamedCertificate[],
): { readonly name: string; readonly role: TokenRole | undefined } {
  const entry = known.find(({ subject }) => names.includes(subject));
  if (entry !== undefined) return { name: entry.subject, role: entry.role };
  return { name: (names[0] ?? 'a certificate without a name').slice(0, mostNameLength), role: undefined };
}

function unquoted(value: string): string {
  if (!value.startsWith('"')) return value;
  try {
    return String(JSON.parse(value));
  } catch {
    return value;
  }
}
