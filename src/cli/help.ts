/** `primed help VERB…` on the program and on each group of verbs, and which verb is nearest to a word that is none. */
import type { Command } from 'commander';
import { nearestWord } from '../config/nearest.ts';

/** Gives help to the program and its groups, when all verbs are there. */
export function addHelp(program: Command): void {
  for (const group of [program, ...program.commands.filter(({ commands }) => commands.length > 0)]) {
    // commander's own shows the help of the whole, and says nothing, where a word is no verb
    group.helpCommand(false);
    group
      .command('help')
      .description('show the help of a verb')
      .argument('[verb...]')
      // what stands behind the words of a verb may be its flags
      .allowUnknownOption()
      .action((words: string[]) => helpOf(group, words));
    group.on('command:*', ([word]: string[]) => refuseVerb(group, word!));
  }
}

function helpOf(group: Command, [word, ...rest]: readonly string[]): void {
  if (word === undefined || word.startsWith('-')) group.help();
  // an operand of a verb is none of its verbs
  if (group.commands.length === 0) group.help();
  const verb = group.commands.find((command) => command.name() === word);
  if (verb === undefined) refuseVerb(group, word);
  helpOf(verb, rest);
}

/** Throws: what is no verb ends the program with exit code 2. */
function refuseVerb(group: Command, word: string): never {
  const names = group
    .createHelp()
    .visibleCommands(group)
    .map((command) => command.name());
  // `primed list` is half of a verb
  const within = group.commands.filter(({ commands }) => commands.some((command) => command.name() === word));
  const meant =
    within.length > 0 ? within.map((one) => `${one.name()} ${word}`) : [nearestWord(word.toLowerCase(), names)];
  const words = group.parent === null ? 'primed' : `primed ${group.name()}`;
  const nearest = meant.map((verb) => `${words} ${verb}`).join(' or ');
  group.error(`error: unknown command '${word}'; did you mean ${nearest}?`, { code: 'commander.unknownCommand' });
}
