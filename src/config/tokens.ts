/** `[[token]]`: tokens of the REST API beside `api_token`, each with a name and a role. */
import Type from 'typebox';
import { type NamedToken, type TokenRole, tokenRoles } from '../core/roles.ts';
import type { Draft } from './draft.ts';
import { choice, secret, text } from './forms.ts';

const namePattern = '^[A-Za-z0-9._-]{1,64}$';

export const tokenSchema = Type.Object(
  {
    name: text({ live: true, description: 'What the audit log calls who has it.', pattern: namePattern }),
    role: choice(tokenRoles, {
      live: true,
      description:
        '`read`: look; `submit`: also submit, stop and limit loads; `admin`: everything, as with `api_token`.',
    }),
    ...secret('token', {
      live: true,
      description: 'The token: printable ASCII, no spaces. It, or its file, must be set.',
      pattern: '^[!-~]+$',
    }),
  },
  {
    additionalProperties: false,
    description:
      'A token that the API and worker ports take beside `api_token`, which is one of the role `admin` and has to be set too: nodes use it among themselves.',
  },
);

export function tokensOf({ values, counts }: Draft): readonly NamedToken[] {
  const get = (index: number, key: string) => values.get(`token[${index}].${key}`) as string;
  return Array.from({ length: counts.get('token') ?? 0 }, (_, index) => ({
    name: get(index, 'name'),
    role: get(index, 'role') as TokenRole,
    token: get(index, 'token'),
  }));
}

export function checkTokens(draft: Draft, complain: (draft: Draft, key: string, problem: string) => void): void {
  const seen = new Map<unknown, string>([[draft.values.get('api_token'), 'api_token']]);
  const names = new Set<unknown>(['api_token']);
  tokensOf(draft).forEach(({ name, token }, index) => {
    const key = `token[${index}]`;
    if (!draft.values.has('api_token')) complain(draft, `${key}.name`, 'counts only beside an api_token; set one');
    if (token === undefined) complain(draft, `${key}.name`, 'has no token: set token or token_file');
    else if (seen.has(token)) complain(draft, `${key}.name`, `has the same token as ${seen.get(token)}`);
    if (names.has(name)) complain(draft, `${key}.name`, `"${name}" is the name of another token`);
    names.add(name);
    seen.set(token, name);
  });
}
