/** `primed doctor`: what is wrong with a node, and what to do about it. Who examines it is given by the caller. */
import { Option } from 'commander';
import type { Role } from '../config/config.ts';
import type { ConfigInput } from '../config/load.ts';
import { type Finding, worstOf } from '../core/finding.ts';
import { printable } from '../core/text.ts';
import { roles } from './config.ts';
import { type RegisterVerb, runs } from './context.ts';
import { configFlags } from './daemon-verb.ts';
import { exitCodes } from './exit.ts';
import { type CliIo, colorAllowed, redrawable } from './io.ts';
import { addVerb, type Flags, say } from './verb.ts';

export interface ExamineHow {
  readonly paths: readonly string[];
  /** The whole index is read too; called with rows so far, and how many there are. */
  readonly deep?: (rows: number, of: number) => void;
}
export type Examine = (input: ConfigInput, how: ExamineHow) => Promise<readonly Finding[]>;

type DoctorFlags = Flags<Record<string, unknown> & { readonly role: Role; readonly deep?: boolean }>;

/** Elsewhere than on a terminal a line is written at most this often. */
const lineEveryMs = 3_000;

export function doctorVerb(examine: Examine): RegisterVerb {
  return (program, context) => {
    const command = addVerb(program, {
      name: 'doctor',
      description: 'examine this node by its configuration: store, machine, ports, coordinator, origins',
      operands: [['[path...]', 'paths at origins to list a key of, besides those of the configuration']],
      flags: [
        new Option('--role <role>', 'which daemon it is for').choices(roles).default('standalone'),
        new Option(
          '--deep',
          'read the whole index of a worker that is stopped, and see that it fits together; it cannot start until that is done',
        ),
      ],
      examples: [
        'primed doctor --role worker --config /etc/primed/primed.toml',
        'primed doctor --role worker --config /etc/primed/primed.toml s3://datasets/ --format json',
        'primed doctor --role worker --config /etc/primed/primed.toml --deep',
      ],
      asks: 'local',
    });
    configFlags(command);
    runs(command, context, async (paths: string[], flags: DoctorFlags) => {
      const { io } = context;
      const { deep, ...settings } = flags;
      const progress = deep === true ? { deep: progressOf(io) } : {};
      const findings = await examine({ role: flags.role, flags: settings, env: io.env }, { paths, ...progress });
      const level = worstOf(findings);
      say(io, flags, { level, findings }, () => describe(io, findings));
      return level === 'fail' ? exitCodes.failed : exitCodes.done;
    });
  };
}

/** On standard error, so that standard output keeps to findings. */
function progressOf(io: CliIo): NonNullable<ExamineHow['deep']> {
  const redraws = redrawable(io, io.stderr);
  let shownAtMs = io.now();
  return (rows, of) => {
    if (redraws && rows === of) io.stderr.write('\r\u001b[K');
    if (rows === of || (!redraws && io.now() - shownAtMs < lineEveryMs)) return;
    shownAtMs = io.now();
    const line = `index: ${rows} of ${of} rows`;
    io.stderr.write(redraws ? `\r\u001b[K${line}` : `${line}\n`);
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
