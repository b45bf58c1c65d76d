/**
 * Benchmarks: `npm run bench -- <name>…`. Macro benchmarks drive the executable in dist/ as a user does; each measures
 * its ceiling in the same run, in turns with ours. Results go to bench-results/, with --publish to docs/benchmarks/ too.
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { parseSize } from '../src/core/sizes.ts';
import { scenarios } from './scenarios/index.ts';
import { printOutcome, writeResult } from './support/results.ts';
import { openWorkspace, projectRoot, type Workspace } from './support/workspace.ts';

interface Flags {
  readonly runs: number;
  readonly quick: boolean;
  readonly publish: boolean;
  readonly size?: number;
  readonly dir?: string;
}

const names = Object.keys(scenarios);
const program = new Command('bench')
  .description('Measures primed beside its ceilings.')
  .addHelpText(
    'after',
    `\nBenchmarks:\n${names.map((name) => `  ${name.padEnd(10)} ${scenarios[name]!.summary}`).join('\n')}\n  all        each of them`,
  )
  .argument('<names...>', 'which ones')
  .addOption(new Option('--runs <n>', 'how often each side is measured').default(5).argParser(readCount))
  .option('--quick', 'small amounts, to see whether it works; cannot be published', false)
  .option('--publish', 'also write docs/benchmarks/, and make the documents from it', false)
  .addOption(new Option('--size <bytes>', 'how much is loaded, where a benchmark has the choice').argParser(readSize))
  .option('--dir <folder>', 'works below this folder, which lies on the device to measure (default: bench-results)')
  .action(main);

async function main(given: string[], flags: Flags): Promise<void> {
  const wanted = given.includes('all') ? names : given;
  const unknown = wanted.find((name) => !names.includes(name));
  if (unknown !== undefined)
    program.error(`error: no benchmark is called '${unknown}'; there are ${names.join(', ')}, all`);
  if (flags.quick && flags.publish) program.error('error: --quick and --publish exclude each other');
  for (const name of wanted) await measure(name, flags);
  if (flags.publish)
    execFileSync(process.execPath, [join(projectRoot, 'scripts', 'generate-benchmarks.mjs')], { stdio: 'inherit' });
}

/** One benchmark in a workspace of its own, which is emptied whatever happens. */
async function measure(name: string, flags: Flags): Promise<void> {
  const workspace = openWorkspace(flags.dir);
  const forget = closeOnSignal(workspace);
  try {
    const outcome = await scenarios[name]!.run({
      workspace,
      runs: flags.runs,
      quick: flags.quick,
      sizeBytes: flags.size,
      log: (message) => console.error(`${name}: ${message}`),
    });
    printOutcome(name, outcome);
    const path = writeResult(name, outcome, {
      runs: flags.runs,
      quick: flags.quick,
      publish: flags.publish,
      device: workspace.dir,
    });
    console.log(`  written to ${path}`);
  } finally {
    forget();
    await workspace.close();
  }
}

function closeOnSignal(workspace: Workspace): () => void {
  const onSignal = (signal: NodeJS.Signals) => {
    console.error(`${signal}: stopping what was started`);
    void workspace.close().finally(() => process.exit(130));
  };
  process.once('SIGINT', onSignal);
  process.once('SIGTERM', onSignal);
  return () => {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  };
}

function readCount(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > 1000)
    throw new InvalidArgumentError('a whole number from 1 to 1000');
  return count;
}

function readSize(text: string): number {
  try {
    return parseSize(text);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}

program.parseAsync().catch((error: unknown) => {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
