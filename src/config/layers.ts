/**
 * The layers of a configuration that are no files: defaults below everything, the environment over the files, and flags over
 * that. Each layer is read into the same draft, which collects every error instead of stopping at the first.
 */
import { assign, type Draft } from './draft.ts';
import { namesUser, userProblem, withoutUser } from './forms.ts';
import { nearestWord } from './nearest.ts';
import { settings } from './settings.ts';

export function applyDefaults(draft: Draft): void {
  for (const setting of settings.values()) {
    if (setting.leaf.default === undefined) continue;
    // A default below `data_dir` is made where the whole configuration is known; this one is relative to the process.
    assign(draft, setting, {
      key: setting.path,
      raw: setting.leaf.default,
      base: process.cwd(),
      source: { kind: 'default', place: 'default' },
    });
  }
}

/** Variables of ours that are not settings: where the file is, and what people show a coordinator. */
const otherVariables = new Set(['PRIMED_CONFIG', 'PRIMED_CERT_FILE', 'PRIMED_KEY_FILE']);
/** What Kubernetes puts into every container for a service called `primed…`. */
const kubernetesLink = /^PRIMED_(?:.*_)?(?:SERVICE_(?:HOST|PORT.*)|PORT_\d+_(?:TCP|UDP|SCTP).*)$/;

export type Environment = Readonly<Record<string, string | undefined>>;

/** Reads every `PRIMED_…` variable; an empty one counts as not set. A relative path is relative to the process. */
export function applyEnvironment(draft: Draft, env: Environment): void {
  const byName = new Map([...settings.values()].map((setting) => [setting.env!, setting]));
  for (const [name, raw] of Object.entries(env)) {
    if (!name.startsWith('PRIMED_') || raw === undefined || raw === '' || otherVariables.has(name)) continue;
    const setting = byName.get(name);
    const source = { kind: 'env', place: name } as const;
    if (setting !== undefined) assign(draft, setting, { key: setting.path, raw, base: process.cwd(), source });
    else if (!kubernetesLink.test(name) && !/^(tcp|udp|sctp):\/\//.test(raw)) {
      const names = [...byName.keys(), ...otherVariables];
      // Most often the table is forgotten: PRIMED_LANES is PRIMED_WORKER_LANES.
      const whole = names.find((known) => known.endsWith(name.slice('PRIMED'.length)));
      draft.errors.push(`${name}: is unknown; did you mean ${whole ?? nearestWord(name, names)}?`);
    }
  }
}

/** Of AWS's variables only those that cannot be meant: a load would find out in each of its requests. */
export function checkAwsEnvironment(draft: Draft, env: Environment): void {
  for (const name of ['AWS_ENDPOINT_URL', 'AWS_ENDPOINT_URL_S3']) {
    const value = env[name];
    if (value === undefined || value === '') continue;
    if (!/^https?:\/\//i.test(value) || !URL.canParse(value))
      draft.errors.push(`${name}: must be a URL that starts with http:// or https://, not "${withoutUser(value)}"`);
    else if (namesUser(value))
      draft.errors.push(`${name}: ${userProblem}; use AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY`);
  }
}

/** Flags by their names in camel case, as commander gives them. Those that are not settings are left to the caller. */
export type Flags = Readonly<Record<string, unknown>>;

export function applyFlags(draft: Draft, flags: Flags): void {
  for (const setting of settings.values()) {
    const { flag } = setting.leaf;
    if (flag === undefined) continue;
    const raw = flags[flag.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase())];
    if (raw === undefined) continue;
    assign(draft, setting, {
      key: setting.path,
      raw,
      base: process.cwd(),
      source: { kind: 'flag', place: `--${flag}` },
    });
  }
}
