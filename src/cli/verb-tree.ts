/** The command line as data: what completion and the manual page are made of. */
import type { Command } from 'commander';
import { examplesOf } from './verb.ts';

export interface Flag {
  /** `--size`; of a flag that can be turned off `--no-kill`. */
  readonly long: string;
  readonly short?: string;
  /** `<size>`; undefined: it takes no value. */
  readonly value?: string;
  readonly description: string;
  readonly choices: readonly string[];
}

export interface Verb {
  /** Words behind `primed`; empty for the program itself. */
  readonly words: readonly string[];
  readonly description: string;
  /** `<id>`, `[path]`. */
  readonly operands: readonly string[];
  /** What operands may be, where not anything. */
  readonly choices: readonly string[];
  readonly flags: readonly Flag[];
  /** Whole command lines. */
  readonly examples: readonly string[];
  readonly verbs: readonly Verb[];
}

/** Hidden verbs and flags are left out. */
export function verbTree(command: Command, words: readonly string[] = []): Verb {
  return {
    words,
    description: command.description(),
    operands: command.registeredArguments.map((operand) => {
      const name = `${operand.name()}${operand.variadic ? '...' : ''}`;
      return operand.required ? `<${name}>` : `[${name}]`;
    }),
    choices: command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []),
    flags: command.options.filter(({ hidden }) => !hidden).map(flagOf),
    examples: examplesOf(command),
    verbs: command
      .createHelp()
      .visibleCommands(command)
      .filter((child) => child.name() !== 'help')
      .map((child) => verbTree(child, [...words, child.name()])),
  };
}

/** The verb itself and all below it, each before those below it. */
export function* allVerbs(verb: Verb): Generator<Verb> {
  yield verb;
  for (const child of verb.verbs) yield* allVerbs(child);
}

function flagOf(option: Command['options'][number]): Flag {
  const value = /[<[].*[>\]]/.exec(option.flags)?.[0];
  return {
    long: option.long ?? option.flags,
    ...(option.short === undefined ? {} : { short: option.short }),
    ...(value === undefined ? {} : { value }),
    description: option.description,
    choices: option.argChoices ?? [],
  };
}
