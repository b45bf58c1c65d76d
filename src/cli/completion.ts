/** `primed completion <shell>`, and `primed manual`, which packages are made with. */
import { Argument } from 'commander';
import { completionScript, type Shell, shells } from './completion-scripts.ts';
import { type RegisterVerb, runs } from './context.ts';
import { exitCodes } from './exit.ts';
import { manualPage } from './manual-page.ts';
import { addVerb } from './verb.ts';
import { verbTree } from './verb-tree.ts';

export const registerCompletion: RegisterVerb = (program, context) => {
  const completion = addVerb(program, {
    name: 'completion',
    description: 'print a completion script for a shell',
    examples: ['source <(primed completion bash)', 'primed completion fish > ~/.config/fish/completions/primed.fish'],
    asks: 'local',
    prints: 'bytes',
  }).addArgument(new Argument('<shell>', 'the shell').choices(shells));
  runs(completion, context, async (shell: Shell) => {
    context.io.stdout.write(completionScript(shell, verbTree(program)));
    return exitCodes.done;
  });
  runs(program.command('manual', { hidden: true }).description('print the manual page'), context, async () => {
    context.io.stdout.write(manualPage(verbTree(program), PRIMED_VERSION));
    return exitCodes.done;
  });
};
