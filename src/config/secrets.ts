/** Secrets that lie in files of their own (`api_token_file`): a credential of systemd, a secret of Kubernetes. */
import { readFileSync } from 'node:fs';
import { complain, type Draft } from './draft.ts';
import { parseValue } from './forms.ts';
import { settingAt } from './settings.ts';

const suffix = '_file';

/** Puts what the files hold in the place of the secrets. @param unread only that there is something is taken from them */
export function readSecretFiles(draft: Draft, unread = false): void {
  for (const [key, file] of [...draft.values]) {
    if (settingAt(key)?.leaf.credential !== true) continue;
    const secret = key.slice(0, -suffix.length);
    draft.sources.set(secret, draft.sources.get(key)!);
    // Also where it cannot be read: that there is none at all would be a second error for the same mistake.
    draft.values.set(secret, (unread ? undefined : contentsOf(draft, key, String(file))) ?? '?');
  }
}

/** Undefined, with a complaint: there is none, or it cannot be meant. */
function contentsOf(draft: Draft, key: string, file: string): string | undefined {
  let contents: string;
  try {
    contents = readFileSync(file, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    complain(draft, key, `cannot be read: ${(error as Error).message}`);
    return undefined;
  }
  const parsed = parseValue(settingAt(key.slice(0, -suffix.length))!.schema, contents);
  if ('value' in parsed) return String(parsed.value);
  complain(draft, key, `what ${file} holds ${parsed.problem.replace('what is written there', 'what is there')}`);
  return undefined;
}
