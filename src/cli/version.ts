/** `primed version` */
import { type RegisterVerb, runs } from './context.ts';
import { exitCodes } from './exit.ts';

export const registerVersion: RegisterVerb = (program, context) => {
  runs(program.command('version').description('show the version of primed and of Node'), context, async () => {
    context.io.stdout.write(
      `primed ${PRIMED_VERSION} (Node ${process.versions.node}, ${process.platform} ${process.arch})\n`,
    );
    return exitCodes.done;
  });
};
