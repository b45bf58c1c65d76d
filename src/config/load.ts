/** From flags, environment and file to a checked configuration, or to one error that lists everything that is wrong. */
import { PrimedError } from '../core/errors.ts';
import { type Config, configOf, type Role } from './config.ts';
import {
  applyDefaults,
  applyEnvironment,
  applyFile,
  applyFlags,
  type Draft,
  type Environment,
  emptyDraft,
  type Flags,
} from './layers.ts';
import { checkRules } from './rules.ts';

export interface ConfigInput {
  readonly role: Role;
  /** As commander gives them: `data`, `storeSize`, `api`, `http`, `s3`, `config`. */
  readonly flags: Flags;
  readonly env: Environment;
  /** Defaults to `flags.config`, then to PRIMED_CONFIG, then to no file. */
  readonly file?: string;
}

/** Throws CONFIG_INVALID whose message has one line for each error, with its place. */
export function loadConfig({ role, flags, env, file }: ConfigInput): Config {
  const draft = emptyDraft();
  const chosen = file ?? (typeof flags.config === 'string' ? flags.config : env.PRIMED_CONFIG);
  applyDefaults(draft);
  if (chosen !== undefined && chosen !== '') applyFile(draft, chosen);
  applyEnvironment(draft, env);
  applyFlags(draft, flags);
  checkRules(draft, role);
  refuse(draft);
  return deepFreeze(configOf(role, draft));
}

function refuse({ errors }: Draft): void {
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
