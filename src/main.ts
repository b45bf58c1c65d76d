#!/usr/bin/env node
/**
 * The executable: verbs to what they start. A daemon and the demo are imported when their verb is given, so that a
 * client verb starts without them.
 */
import type { RegisterVerb } from './cli/context.ts';
import { runs } from './cli/context.ts';
import { daemonVerb } from './cli/daemon-verb.ts';
import { doctorVerb } from './cli/doctor.ts';
import { UsageError } from './cli/exit.ts';
import { processIo } from './cli/io.ts';
import { runCli } from './cli/run.ts';
import { giveExamples } from './cli/verb.ts';
import type { Config } from './config/config.ts';
import type { ConfigInput } from './config/load.ts';
import { parseSize } from './core/sizes.ts';

const daemons = [
  daemonVerb({ role: 'standalone', description: 'run coordinator and worker in one process', start }),
  daemonVerb({ role: 'coordinator', description: 'run the coordinator of a cluster', start }),
  daemonVerb({ role: 'worker', description: 'run a worker of a cluster, or manage the workers of one', start }),
];

async function start(config: Config, input: ConfigInput): Promise<number> {
  return (await import('./daemon.ts')).runDaemon(config, input);
}

interface DemoFlags {
  readonly size?: string;
  readonly data?: string;
  readonly keep?: true;
  readonly kill: boolean;
  readonly cluster: boolean;
}

const demo: RegisterVerb = (program, context) => {
  const command = program
    .command('demo')
    .description('load, verify, kill, restart and read back from an embedded origin, on one node and on three')
    .option('--size <size>', 'size of the dataset (default: 2GB)')
    .option('--data <dir>', 'make the data folder below this one instead of the temporary folder')
    .option('--keep', 'leave the data folder')
    .option('--no-kill', 'do not kill the daemon in the middle of a second load')
    .option('--no-cluster', 'leave out the cluster, of which a worker is killed');
  giveExamples(command, ['primed demo', 'primed demo --size 500MB --no-cluster']);
  runs(command, context, async ({ size, data, keep, kill, cluster }: DemoFlags) => {
    const { runDemo } = await import('./demo/demo.ts');
    return runDemo({
      kill,
      cluster,
      keep: keep === true,
      ...(size === undefined ? {} : { sizeBytes: sizeOf(size) }),
      ...(data === undefined ? {} : { dataDir: data }),
    });
  });
};

function sizeOf(text: string): number {
  try {
    return parseSize(text);
  } catch (error) {
    throw new UsageError(`--size: ${error instanceof Error ? error.message : String(error)}`);
  }
}

const doctor = doctorVerb(async (input, how) => {
  const [{ examineNode }, { lookAtEtcd }] = await Promise.all([import('./doctor/doctor.ts'), import('./etcd-look.ts')]);
  return examineNode(input, how, { etcd: lookAtEtcd });
});

const code = await runCli(process.argv.slice(2), processIo(), [...daemons, demo, doctor]);
// not process.exit: what standard output still holds is to be written
process.exitCode = code;
