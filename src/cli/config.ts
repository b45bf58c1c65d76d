/** `primed config check` and `primed config show` */
import { type Command, Option } from 'commander';
import type { Role } from '../config/config.ts';
import type { Draft } from '../config/draft.ts';
import { acceptConfig, readConfig } from '../config/load.ts';
import { checkMachine } from '../config/machine.ts';
import { type ShownValue, showConfig } from '../config/show.ts';
import { type CliContext, type Format, formatOption, printJson, type RegisterVerb, runs } from './context.ts';
import { configFlags, refusing } from './daemon-verb.ts';
import { exitCodes } from './exit.ts';
import { printable } from './printable.ts';
import { formatTable } from './table.ts';

const roles: readonly Role[] = ['standalone', 'coordinator', 'worker'];

interface ConfigFlags extends Record<string, unknown> {
  readonly role: Role;
  readonly format?: Format;
}

export const registerConfig: RegisterVerb = (program, context) => {
  const group = program.command('config').description('check the configuration of a daemon, and show it');
  const check = group.command('check').description('list everything that is wrong with a configuration');
  const show = group.command('show').description('show every setting, and where its value comes from');
  show.addOption(formatOption());
  verb(check, context, (draft, { role }) => sayChecked(context, draft, role));
  verb(show, context, (draft, { role, format }) => sayShown(context, showConfig(draft, role), format));
};

/** Neither of them goes on with a configuration that a daemon would refuse: exit code 78, and all errors. */
function verb(command: Command, context: CliContext, say: (draft: Draft, flags: ConfigFlags) => void): void {
  command.addOption(new Option('--role <role>', 'which daemon it is for').choices(roles).default('standalone'));
  configFlags(command);
  runs(command, context, (flags: ConfigFlags) =>
    refusing(context.io, async () => {
      const draft = readConfig({ role: flags.role, flags, env: context.io.env });
      // The daemon that has this configuration may run, and so have the ports.
      await checkMachine(draft, flags.role, 'found');
      acceptConfig(draft, flags.role);
      say(draft, flags);
      return exitCodes.done;
    }),
  );
}

function sayChecked({ io }: CliContext, { files, found }: Draft, role: Role): void {
  const read = files.length === 0 ? ['no file: flags, environment and defaults'] : files;
  const lines = [...read, ...found, `The configuration is right for ${role}.`];
  io.stdout.write(lines.map((line) => `${printable(line)}\n`).join(''));
}

function sayShown({ io }: CliContext, shown: readonly ShownValue[], format: Format | undefined): void {
  if (format === 'JSON') {
    printJson(io, shown);
    return;
  }
  const rows = shown.map(({ key, text, from }) => [key, text, from].map(printable));
  io.stdout.write(formatTable(['SETTING', 'VALUE', 'FROM'], rows));
}
