/**
 * The command line. Daemon verbs are not known here: whoever starts the program registers them, so that a client verb
 * never loads a daemon.
 */
import { Command, CommanderError } from 'commander';
import { registerCompletion } from './completion.ts';
import { registerConfig } from './config.ts';
import type { CliContext, RegisterVerb } from './context.ts';
import { jsonOfError, wantsJson, wordsOf } from './error-words.ts';
import { exitCodeOf, exitCodes } from './exit.ts';
import { registerFs } from './fs.ts';
import { addHelp } from './help.ts';
import type { CliIo } from './io.ts';
import { registerJob } from './job.ts';
import { registerTop } from './top.ts';
import { registerUfs } from './ufs.ts';
import { giveExamples } from './verb.ts';
import { registerVersion } from './version.ts';
import { registerWhy } from './why.ts';
import { registerWorker } from './worker.ts';

/**
 * Runs one command line (`process.argv` without its first two). Resolves with the exit code: 0 done, 1 failed, 2 bad
 * usage, 3 the coordinator cannot be reached, 4 no such job, 78 a configuration that cannot work, 130 left by Ctrl-C. Never rejects for the world's sake.
 */
export async function runCli(argv: readonly string[], io: CliIo, verbs: readonly RegisterVerb[] = []): Promise<number> {
  const context: CliContext = { io, exitCode: exitCodes.done, jsonErrors: wantsJson(argv) };
  const program = makeProgram(context, verbs);
  const ignoreBrokenPipe = (error: NodeJS.ErrnoException): void => {
    if (error.code !== 'EPIPE') throw error;
  };
  io.stdout.on('error', ignoreBrokenPipe);
  io.stderr.on('error', ignoreBrokenPipe);
  try {
    await program.parseAsync(argv, { from: 'user' });
    return context.exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return exitCodes.done;
    if (context.jsonErrors === true) io.stderr.write(`${jsonOfError(error)}\n`);
    // commander has said what it has to say itself; help that was not asked for means that a verb is missing
    else if (!(error instanceof CommanderError)) io.stderr.write(`primed: ${wordsOf(error)}\n`);
    return error instanceof CommanderError ? exitCodes.usage : exitCodeOf(error);
  } finally {
    io.stdout.off('error', ignoreBrokenPipe);
    io.stderr.off('error', ignoreBrokenPipe);
  }
}

/** All verbs, without running one. */
export function makeProgram(context: CliContext, verbs: readonly RegisterVerb[]): Command {
  const { io } = context;
  const program = new Command('primed')
    .description('Preloads datasets from object storage onto SSDs, proves that they are there, and serves them.')
    .version(PRIMED_VERSION, '--version', 'show the version')
    .exitOverride()
    // `primed worker` and `primed worker list` both have a --coordinator: a flag belongs to the verb before it
    .enablePositionalOptions()
    .showHelpAfterError('(--help says more)')
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: (text) => void (context.jsonErrors === true || io.stderr.write(text)),
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    });
  // subcommands inherit exitOverride and output settings only when they are made after these were set
  for (const register of [
    ...verbs,
    registerJob,
    registerFs,
    registerWorker,
    registerUfs,
    registerTop,
    registerWhy,
    registerConfig,
    registerCompletion,
    registerVersion,
  ])
    register(program, context);
  addHelp(program);
  return giveExamples(program, [
    'primed job load s3://datasets/imagenet/',
    'primed top',
    'primed why s3://datasets/a.bin',
    'primed help job load',
  ]);
}
