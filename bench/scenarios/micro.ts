/** The suites of bench/micro: pieces of the product by themselves, with tinybench. */
import type { Bench } from 'tinybench';
import { figure, type Row } from '../support/results.ts';
import type { Scenario } from '../support/scenario.ts';

interface SuiteFile {
  /** Benches that are set up and not yet run. */
  readonly suites: () => Promise<readonly Bench[]> | readonly Bench[];
}

const names = ['platform', 'store', 'origin'] as const;

export const micro: Scenario = {
  summary: 'pieces by themselves: checksums, disk queue, store, signer, response reader',
  async run({ log }) {
    const rows: Row[] = [];
    const notes: string[] = [];
    for (const name of names) {
      const file = await suiteFile(name);
      if (file === undefined) {
        notes.push(`bench/micro/${name}.ts is not in this build and was left out`);
        continue;
      }
      for (const bench of await file.suites()) {
        log(`${name}: ${bench.name ?? 'suite'}`);
        await bench.run();
        rows.push(...bench.tasks.map((task) => rowOf(`${name}: ${task.name}`, task.result)));
      }
    }
    return {
      title: 'Pieces by themselves',
      about: 'Medians of tinybench in one thread.',
      parameters: {},
      rows,
      verdicts: [],
      notes,
    };
  },
};

/** The bundler finds the files; one that was not there when it ran is told from one that fails. */
async function suiteFile(name: (typeof names)[number]): Promise<SuiteFile | undefined> {
  try {
    return (await import(`../micro/${name}.ts`)) as SuiteFile;
  } catch (error) {
    if (error instanceof Error && error.message.startsWith('Module not found in bundle')) return undefined;
    throw error;
  }
}

function rowOf(name: string, result: Bench['tasks'][number]['result']): Row {
  if (!('latency' in result))
    throw new Error(`${name} ended ${result.state}${'error' in result ? `: ${result.error.message}` : ''}`);
  return {
    name,
    figures: {
      'time each': figure('µs', [result.latency.p50 * 1000]),
      rate: figure('/s', [result.throughput.p50]),
    },
  };
}
