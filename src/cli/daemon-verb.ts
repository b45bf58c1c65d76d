/** `primed standalone`, `primed coordinator`, `primed worker`: flags and configuration; what starts is given by the caller. */
import type { Config, Role } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import { settings } from '../config/settings.ts';
import { type RegisterVerb, runs } from './context.ts';

export interface DaemonVerb {
  readonly role: Role;
  readonly description: string;
  /** Runs the daemon until it ends; resolves with the exit code. */
  readonly start: (config: Config) => Promise<number>;
}

/** Settings that a role has no use for; in a file that several roles share they are no mistake, as a flag they are. */
const idleTables: Readonly<Record<Role, readonly string[]>> = {
  standalone: ['cluster.'],
  coordinator: ['worker.', 'cluster.'],
  worker: ['api.'],
};
const valueOfForm: Readonly<Record<string, string>> = { listen: 'host:port', path: 'dir', size: 'size' };

/** The verb of one daemon. A configuration that is wrong ends it with exit code 2 and a line for each error. */
export function daemonVerb({ role, description, start }: DaemonVerb): RegisterVerb {
  return (program, context) => {
    const command = program
      .command(role)
      .description(description)
      .option('--config <file>', 'configuration file (TOML; default: PRIMED_CONFIG)');
    for (const { path, leaf } of settings.values()) {
      if (leaf.flag === undefined || idleTables[role].some((table) => path.startsWith(table))) continue;
      const fallback = leaf.default ?? leaf.unset;
      const words = `${leaf.description}${fallback === undefined ? '' : ` (default: ${fallback})`}`;
      command.option(`--${leaf.flag} <${valueOfForm[leaf.form] ?? 'value'}>`, words);
    }
    runs(command, context, (flags: Record<string, unknown>) => start(loadConfig({ role, flags, env: context.io.env })));
  };
}
