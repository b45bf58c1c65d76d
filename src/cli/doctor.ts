/** `primed doctor`: what is wrong with a node, and what to do about it. Who examines it is given by the caller. */
import { Option } from 'commander';
import type { Role } from '../config/config.ts';
import type { ConfigInput } from '../config/load.ts';
import { type Finding, worstOf } from '../core/finding.ts';
import { roles } from './config.ts';
import { type RegisterVerb, runs } from './context.ts';
import { configFlags } from './daemon-verb.ts';
import { exitCodes } from './exit.ts';
import { type CliIo, colorAllowed } from './io.ts';
import { printable } from './printable.ts';
import { addVerb, type Flags, say } from './verb.ts';

export type Examine = (input: ConfigInput, paths: readonly string[]) => Promise<readonly Finding[]>;

type DoctorFlags = Flags<Record<string, unknown> & { readonly role: Role }>;

export function doctorVerb(examine: Examine): RegisterVerb {
  return (program, context) => {
    const command = addVerb(program, {
      name: 'doctor',
      description: 'examine this node by its configuration: store, machine, ports, coordinator, origins',
      operands: [['[path...]', 'paths at origins to list a key of, besides those of the configuration']],
      flags: [new Option('--role <role>', 'which daemon it is for').choices(roles).default('standalone')],
      examples: [
        'primed doctor --role worker --config /etc/primed/primed.toml',
        'primed doctor --role worker --config /etc/primed/primed.toml s3://datasets/ --format json',
      ],
      asks: 'local',
    });
    configFlags(command);
    runs(command, context, async (paths: string[], flags: DoctorFlags) => {
      const { io } = context;
      const findings = await examine({ role: flags.role, flags, env: io.env }, paths);
      const level = worstOf(findings);
      say(io, flags, { level, findings }, () => describe(io, findings));
      return level === 'fail' ? exitCodes.failed : exitCodes.done;
    });
  };
}

const colors = { ok: 32, warn: 33, fail: 31 } as const;

function describe(io: CliIo, findings: readonly Finding[]): string {
  const colored = colorAllowed(io, io.stdout);
  const lines = findings.map(({ check, level, what, remedy }) => {
    const word = level.toUpperCase().padEnd(4);
    const mark = colored ? `\u001b[${colors[level]}m${word}\u001b[39m` : word;
    const help = remedy === undefined ? '' : `\n      ${printable(remedy)}`;
    return `${mark}  ${printable(`${check}: ${what}`)}${help}\n`;
  });
  const count = (wanted: Finding['level']): number => findings.filter(({ level }) => level === wanted).length;
  return `${lines.join('')}${count('ok')} ok, ${count('warn')} to look at, ${count('fail')} failed\n`;
}
