/**
 * How a verb is declared: its words, flags and examples, whether it asks a coordinator, and how its answer is said. Help,
 * completion and the manual page are all made of this, so that a verb says everything once.
 */
import { type Command, Option } from 'commander';
import type { PrimedClient } from '../client/client.ts';
import { certificateVariables } from './client-certificate.ts';
import { type CliContext, type ClientOptions, defaultCoordinator, runs, withClient } from './context.ts';
import { exitCodes } from './exit.ts';
import type { CliIo } from './io.ts';

export const formats = ['text', 'json'] as const;
export type Format = (typeof formats)[number];

/** Flags, what it is, and how what was typed is read. */
export type Flag = Option | readonly [flags: string, description: string, parse?: (written: string) => unknown];

export interface VerbWords {
  readonly name: string;
  readonly description: string;
  /** `<path>` or `[path]`, and what it is. */
  readonly operands?: readonly (readonly [string, string])[];
  readonly flags?: readonly Flag[];
  /** Whole command lines. */
  readonly examples: readonly string[];
  /** `local`: it asks no coordinator. */
  readonly asks?: 'coordinator' | 'local';
  /** `bytes`: what it writes is no answer that could have another form. */
  readonly prints?: 'answer' | 'bytes';
}

export interface CommonFlags extends ClientOptions {
  readonly format?: Format;
}

export type Flags<F = object> = F & CommonFlags;

/** Adds a verb whose action the caller gives. */
export function addVerb(parent: Command, words: VerbWords): Command {
  const { name, description, operands = [], flags = [], examples, asks = 'coordinator', prints = 'answer' } = words;
  const command = parent.command(name).description(description);
  for (const [operand, what] of operands) command.argument(operand, what);
  for (const flag of flags) {
    if (flag instanceof Option) command.addOption(flag);
    else if (flag[2] === undefined) command.option(flag[0], flag[1]);
    else command.option(flag[0], flag[1], flag[2]);
  }
  if (prints === 'answer') command.addOption(formatOption());
  if (asks === 'coordinator') coordinatorOption(command);
  return giveExamples(command, examples);
}

/** Adds a verb that asks a coordinator one thing and says the answer: as it is where JSON is wanted, else as `text` has it. */
export function addAsking<F, A>(
  parent: Command,
  context: CliContext,
  words: VerbWords & {
    readonly ask: (client: PrimedClient, flags: Flags<F>, ...operands: string[]) => Promise<A>;
    readonly text: (answer: A) => string;
    readonly exitCode?: (answer: A) => number;
  },
): Command {
  const command = addVerb(parent, words);
  runs(command, context, async (...args: unknown[]) => {
    const flags = args.at(-2) as Flags<F>;
    const operands = args.slice(0, -2) as string[];
    const answer = await withClient(context, flags, (client) => words.ask(client, flags, ...operands));
    say(context.io, flags, answer, words.text);
    return words.exitCode?.(answer) ?? exitCodes.done;
  });
  return command;
}

/** Adds a group of verbs. */
export function addGroup(
  parent: Command,
  { name, description, examples }: Omit<VerbWords, 'asks' | 'prints'>,
): Command {
  return giveExamples(parent.command(name).description(description), examples);
}

/** An answer to standard output, in the form that is wanted. */
export function say<A>(io: CliIo, { format }: CommonFlags, answer: A, text: (answer: A) => string): void {
  io.stdout.write(format === 'json' ? jsonOf(answer) : text(answer));
}

/** One document. */
export function jsonOf(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

/** The examples of a verb, in its help. */
export function giveExamples(command: Command, examples: readonly string[]): Command {
  examplesByCommand.set(command, examples);
  return command.addHelpText('after', `\nExamples:\n${examples.map((line) => `  ${line}\n`).join('')}`);
}

export function examplesOf(command: Command): readonly string[] {
  return examplesByCommand.get(command) ?? [];
}

const examplesByCommand = new WeakMap<Command, readonly string[]>();

function formatOption(): Option {
  const option = new Option('--format <format>', 'text for people, json for programs').choices(formats);
  const exactly = option.parseArg!;
  return option.argParser((written: string, before: unknown) => exactly.call(option, written.toLowerCase(), before));
}

function coordinatorOption(command: Command): Command {
  return command
    .option(
      '--coordinator <url>',
      `address of the coordinator (default: PRIMED_COORDINATOR, then ${defaultCoordinator})`,
    )
    .option(
      '--cert <file>',
      `client certificate (PEM) to show in place of a token (default: ${certificateVariables.cert})`,
    )
    .option('--key <file>', `its key (PEM; default: ${certificateVariables.key}, then the file of the certificate)`);
}
