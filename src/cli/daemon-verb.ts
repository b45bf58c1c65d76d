/** `primed standalone`, `primed coordinator`, `primed worker`: flags and configuration; what starts is given by the caller. */
import type { Command } from 'commander';
import type { Config, Role } from '../config/config.ts';
import { type ConfigInput, loadConfigHere } from '../config/load.ts';
import { settings } from '../config/settings.ts';
import { PrimedError } from '../core/errors.ts';
import { type CliContext, type RegisterVerb, runs } from './context.ts';
import { jsonOfError } from './error-words.ts';
import { exitCodes } from './exit.ts';
import { giveExamples } from './verb.ts';

export interface DaemonVerb {
  readonly role: Role;
  readonly description: string;
  /** Runs the daemon until it ends; resolves with the exit code. `input`: what the configuration was read from. */
  readonly start: (config: Config, input: ConfigInput) => Promise<number>;
}

/** Settings that a role has no use for; in a file that several roles share they are no mistake, as a flag they are. */
const idleTables: Readonly<Record<Role, readonly string[]>> = {
  standalone: ['cluster.'],
  coordinator: ['worker.', 'cluster.'],
  worker: ['api.'],
};
const valueOfForm: Readonly<Record<string, string>> = { listen: 'host:port', path: 'dir', size: 'size', room: 'size' };

/** The verb of one daemon. A configuration that cannot work ends it with exit code 78 and a line for each error. */
export function daemonVerb({ role, description, start }: DaemonVerb): RegisterVerb {
  return (program, context) => {
    const command = configFlags(program.command(role).description(description), role);
    giveExamples(command, [`primed ${role} --config /etc/primed/primed.toml`]);
    runs(command, context, (flags: Record<string, unknown>) =>
      refusing(context, async () => {
        const input = { role, flags, env: context.io.env };
        return start(await loadConfigHere(input), input);
      }),
    );
  };
}

/** `--config`, and the settings that are flags. @param role undefined: all of them */
export function configFlags(command: Command, role?: Role): Command {
  command.option('--config <file>', 'configuration file (TOML; default: PRIMED_CONFIG)');
  for (const { path, leaf } of settings.values()) {
    if (leaf.flag === undefined || (role && idleTables[role].some((table) => path.startsWith(table)))) continue;
    const fallback = leaf.default ?? leaf.unset;
    const words = `${leaf.description}${fallback === undefined ? '' : ` (default: ${fallback})`}`;
    command.option(`--${leaf.flag} <${valueOfForm[leaf.form] ?? 'value'}>`, words);
  }
  return command;
}

/** What CONFIG_INVALID of `act` says goes to standard error; resolves with the exit code. */
export async function refusing({ io, jsonErrors }: CliContext, act: () => Promise<number>): Promise<number> {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof PrimedError) || error.code !== 'CONFIG_INVALID') throw error;
    io.stderr.write(jsonErrors === true ? `${jsonOfError(error)}\n` : `primed: ${error.message}\n`);
    return exitCodes.configuration;
  }
}
