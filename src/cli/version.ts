/** `primed version` */
import { type RegisterVerb, runs } from './context.ts';
import { exitCodes } from './exit.ts';
import { addVerb, type CommonFlags, say } from './verb.ts';

export const registerVersion: RegisterVerb = (program, context) => {
  const command = addVerb(program, {
    name: 'version',
    description: 'show the version of primed and of Node',
    examples: ['primed version', 'primed version --format json'],
    asks: 'local',
  });
  runs(command, context, async (flags: CommonFlags) => {
    const { versions, platform, arch } = process;
    const answer = { version: PRIMED_VERSION, node: versions.node, platform, arch };
    say(context.io, flags, answer, () => `primed ${PRIMED_VERSION} (Node ${versions.node}, ${platform} ${arch})\n`);
    return exitCodes.done;
  });
};
