/** `primed config check` and `primed config show` */
import { type Command, Option } from 'commander';
import type { Role } from '../config/config.ts';
import type { Draft } from '../config/draft.ts';
import { acceptConfig, readConfig, refuse } from '../config/load.ts';
import { checkMachine } from '../config/machine.ts';
import { type ShownValue, showConfig } from '../config/show.ts';
import { printable } from '../core/text.ts';
import { type CliContext, type RegisterVerb, runs } from './context.ts';
import { configFlags, refusing } from './daemon-verb.ts';
import { exitCodes } from './exit.ts';
import { formatTable } from './table.ts';
import { addGroup, addVerb, type Flags, say } from './verb.ts';

export const roles: readonly Role[] = ['standalone', 'coordinator', 'worker'];

type ConfigFlags = Flags<Record<string, unknown> & { readonly role: Role; readonly textOnly?: boolean }>;

export const registerConfig: RegisterVerb = (program, context) => {
  const group = addGroup(program, {
    name: 'config',
    description: 'check the configuration of a daemon, and show it',
    examples: ['primed config check', 'primed config show --format json'],
  });
  const check = addVerb(group, {
    name: 'check',
    description: 'list everything that is wrong with a configuration',
    examples: ['primed config check --role worker --config /etc/primed/primed.toml'],
    asks: 'local',
  });
  check.option(
    '--text-only',
    'look at what is written alone, not at secrets, certificates, folders and ports: for who may not see them',
  );
  const show = addVerb(group, {
    name: 'show',
    description: 'show every setting, whether a reload takes a change of it over, and where its value comes from',
    examples: ['primed config show --config /etc/primed/primed.toml', 'primed config show --format json'],
    asks: 'local',
  });
  verb(check, context, ({ files, found }, flags) =>
    say(context.io, flags, { role: flags.role, files, found, textOnly: flags.textOnly === true }, checked),
  );
  verb(show, context, (draft, flags) => say(context.io, flags, showConfig(draft, flags.role), shown));
};

/** Neither of them goes on with a configuration that a daemon would refuse: exit code 78, and all errors. */
function verb(command: Command, context: CliContext, say: (draft: Draft, flags: ConfigFlags) => void): void {
  command.addOption(new Option('--role <role>', 'which daemon it is for').choices(roles).default('standalone'));
  configFlags(command);
  runs(command, context, (flags: ConfigFlags) =>
    refusing(context, async () => {
      const { textOnly = false, ...settings } = flags;
      const draft = readConfig({ role: flags.role, flags: settings, env: context.io.env, secretsUnread: textOnly });
      // The daemon that has this configuration may run, and so have the ports.
      if (!textOnly) await checkMachine(draft, flags.role, 'found');
      // What follows from what is written may follow from the machine too.
      if (textOnly) refuse(draft);
      else acceptConfig(draft, flags.role);
      say(draft, flags);
      return exitCodes.done;
    }),
  );
}

function checked({
  role,
  files,
  found,
  textOnly,
}: Pick<Draft, 'files' | 'found'> & { readonly role: Role; readonly textOnly: boolean }): string {
  const read = files.length === 0 ? ['no file: flags, environment and defaults'] : files;
  const lines = [
    ...read,
    ...found,
    `The configuration is right for ${role}${textOnly ? ', as far as it is written' : ''}.`,
  ];
  return lines.map((line) => `${printable(line)}\n`).join('');
}

function shown(values: readonly ShownValue[]): string {
  const rows = values.map(({ key, text, reload, from }) => [key, text, reload, from].map(printable));
  return formatTable(['SETTING', 'VALUE', 'RELOAD', 'FROM'], rows);
}
