/** What a token of the REST API lets its holder do. Each role has what those before it have. */

export const tokenRoles = ['read', 'submit', 'admin'] as const;
export type TokenRole = (typeof tokenRoles)[number];

/** Who asks. */
export interface Caller {
  /** Of the token, or the subject of the certificate. */
  readonly name: string;
  /** Undefined: a certificate that no entry names. */
  readonly role: TokenRole | undefined;
  /** Who has shown no token. */
  readonly byCertificate?: true;
}

export interface NamedToken extends Caller {
  readonly role: TokenRole;
  readonly token: string;
}

export function allows(have: TokenRole | undefined, needed: TokenRole): boolean {
  return have !== undefined && tokenRoles.indexOf(have) >= tokenRoles.indexOf(needed);
}
