/** From flags, environment and files to a checked configuration, or to one error that lists everything that is wrong. */
import { PrimedError } from '../core/errors.ts';
import { type Config, configOf, type Role } from './config.ts';
import { type Draft, emptyDraft } from './draft.ts';
import { applyFiles } from './files.ts';
import {
  applyDefaults,
  applyEnvironment,
  applyFlags,
  checkAwsEnvironment,
  type Environment,
  type Flags,
} from './layers.ts';
import { checkMachine } from './machine.ts';
import { checkRules } from './rules.ts';
import { readSecretFiles } from './secrets.ts';
import { applyTraceVariables } from './trace-variables.ts';

export interface ConfigInput {
  readonly role: Role;
  /** As commander gives them: `data`, `storeSize`, `api`, `http`, `s3`, `config`. */
  readonly flags: Flags;
  readonly env: Environment;
  /** Defaults to `flags.config`, then to PRIMED_CONFIG, then to no file. */
  readonly file?: string;
  /** Secrets in files of their own are taken as given: only the daemon may be able to read them. */
  readonly secretsUnread?: boolean;
}

/** Everything that can be known without a look at the machine. */
export function readConfig({ role, flags, env, file, secretsUnread = false }: ConfigInput): Draft {
  const draft = emptyDraft(env.CREDENTIALS_DIRECTORY);
  const chosen = file ?? (typeof flags.config === 'string' ? flags.config : env.PRIMED_CONFIG);
  applyDefaults(draft);
  if (chosen !== undefined && chosen !== '') applyFiles(draft, chosen);
  applyEnvironment(draft, env);
  applyFlags(draft, flags);
  applyTraceVariables(draft, env);
  readSecretFiles(draft, secretsUnread);
  checkAwsEnvironment(draft, env);
  checkRules(draft, role);
  return draft;
}

/** Throws CONFIG_INVALID whose message has one line for each error, with its place. */
export function acceptConfig(draft: Draft, role: Role): Config {
  refuse(draft);
  return deepFreeze(configOf(role, draft));
}

/** With a look at the machine too: what this accepts can start, as far as can be told. */
export async function loadConfigHere(input: ConfigInput): Promise<Config> {
  const draft = readConfig(input);
  await checkMachine(draft, input.role, 'error');
  return acceptConfig(draft, input.role);
}

/** Throws CONFIG_INVALID where anything is wrong so far. */
export function refuse({ errors }: Draft): void {
  if (errors.length === 0) return;
  const count =
    errors.length === 1 ? 'The configuration has an error' : `The configuration has ${errors.length} errors`;
  throw new PrimedError('CONFIG_INVALID', `${count}:\n${errors.map((error) => `  ${error}`).join('\n')}`, {
    errors: errors.length,
  });
}

/** The settings that are not defaults, and where each came from: for the log line at start. Values are not in it. */
export function describeSources(config: Config): Record<string, string> {
  const chosen = [...config.sources].filter(([, source]) => source.kind !== 'default');
  return Object.fromEntries(chosen.map(([key, source]) => [key, source.place]));
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value) && !(value instanceof Map)) {
    Object.freeze(value);
    for (const child of Object.values(value)) deepFreeze(child);
  }
  return value;
}
