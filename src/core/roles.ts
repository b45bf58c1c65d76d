/** What a token of the REST API lets its holder do. Each role has what those before it have. */

export const tokenRoles = ['read', 'submit', 'admin'] as const;
export type TokenRole = (typeof tokenRoles)[number];

/** Who asks. */
export interface Caller {
  /** Of the token. */
  readonly name: string;
  readonly role: TokenRole;
}

export interface NamedToken extends Caller {
  readonly token: string;
}

export function allows(have: TokenRole, needed: TokenRole): boolean {
  return tokenRoles.indexOf(have) >= tokenRoles.indexOf(needed);
}
