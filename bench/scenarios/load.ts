/**
 * Large objects over plain HTTP and over TLS, from nginx: ours beside the C receiver and the disk alone, in turns.
 * The daemon runs through; each run loads the same objects anew, which replaces them in the store. The first run, which
 * meets a cold JIT and an untouched store, is given apart and not part of the median.
 */
import { join } from 'node:path';
import { MiB } from '../../src/core/units.ts';
import { runFio } from '../ceilings/fio.ts';
import { runCurl } from '../ceilings/peers.ts';
import { runReceiver, type Transfer } from '../ceilings/receiver.ts';
import { startNginx } from '../origins/nginx.ts';
import { startDaemon } from '../support/daemon.ts';
import { makeDataset } from '../support/dataset.ts';
import { ratioOfRuns, transferRow, verdict } from '../support/results.ts';
import type { Context, Scenario } from '../support/scenario.ts';

const count = 4;

function makeLarge({ workspace, quick, sizeBytes, log }: Context) {
  const objectBytes = sizeBytes === undefined ? (quick ? 64 : 512) * MiB : Math.ceil(sizeBytes / count);
  log(`making ${count} objects of ${objectBytes / MiB} MiB`);
  const root = workspace.folder('origin');
  return { objectBytes, root, dataset: makeDataset({ root, bucket: 'bench-large', count, objectBytes }) };
}

/** A replacing load needs room for the old and the new bytes, and some slack for alignment. */
const storeBytesFor = (bytes: number) => Math.ceil((bytes * 2.5) / MiB) * MiB + 64 * MiB;

export const load: Scenario = {
  summary: '4 x 512 MiB from nginx, beside a C receiver and fio',
  async run(context) {
    const { workspace, runs, log } = context;
    const { root, dataset, objectBytes } = makeLarge(context);
    const origin = await startNginx(workspace, { root, datasets: [dataset] });
    const ceilings = workspace.folder('ceilings');
    const store = { dir: workspace.folder('store'), sizeBytes: storeBytesFor(dataset.totalBytes) };
    const daemon = await startDaemon(workspace, { origin: { endpoint: origin.endpoint }, stores: [store] });
    const loadOnce = () => daemon.load(`s3://${dataset.bucket}/`);
    const write = () => runReceiver({ port: origin.port, dataset, file: join(ceilings, 'received') });
    const disk = () => runFio({ file: join(ceilings, 'fio'), bytes: dataset.totalBytes, direction: 'write' });

    log('first runs');
    const first = await loadOnce();
    write();
    disk();
    await loadOnce();
    const taken = {
      ours: [] as Transfer[],
      write: [] as Transfer[],
      drop: [] as Transfer[],
      disk: [] as (Transfer | undefined)[],
    };
    for (let run = 1; run <= runs; run += 1) {
      log(`run ${run} of ${runs}`);
      taken.write.push(write());
      taken.ours.push(await loadOnce());
      taken.drop.push(runReceiver({ port: origin.port, dataset }));
      taken.disk.push(disk());
    }

    const ours = transferRow('primed, durable, checksummed, indexed', taken.ours)!;
    const ceiling = transferRow('C: receive, O_DIRECT write, fdatasync', taken.write)!;
    const rows = [
      ours,
      ceiling,
      transferRow('C: receive and drop', taken.drop),
      transferRow('fio: O_DIRECT write alone', taken.disk),
      transferRow('primed, first load of the process', [first]),
    ];
    const throughput = ratioOfRuns(ours.figures.throughput!, ceiling.figures.throughput!);
    const cpu = ratioOfRuns(ours.figures['CPU per GiB']!, ceiling.figures['CPU per GiB']!);
    return {
      title: 'Large objects, plain HTTP',
      about:
        'Objects from nginx on loopback onto one store. Our figure is the whole job, from the submission to SUCCEEDED, and the CPU of all threads of the daemon; the C program is the ceiling for the same bytes.',
      parameters: { objects: count, objectMiB: objectBytes / MiB },
      rows: rows.filter((row) => row !== undefined),
      verdicts: [
        verdict('Large objects: throughput, share of a C program', throughput, 'x', 'at least', 0.8),
        verdict('Large objects: CPU per GiB, against the C program', cpu, 'x', 'at most', 1.6),
      ],
      notes: rows.includes(undefined) ? ['fio is not installed and was left out'] : [],
    };
  },
};

export const tls: Scenario = {
  summary: 'the same over TLS, beside curl to /dev/null',
  async run(context) {
    const { workspace, runs, log } = context;
    const { root, dataset, objectBytes } = makeLarge(context);
    const origin = await startNginx(workspace, { root, datasets: [dataset], tls: true });
    const { endpoint, certificatePath } = origin.tls!;
    const store = { dir: workspace.folder('store'), sizeBytes: storeBytesFor(dataset.totalBytes) };
    const daemon = await startDaemon(workspace, { origin: { endpoint, certificatePath }, stores: [store] });
    await daemon.load(`s3://${dataset.bucket}/`);

    const taken = { ours: [] as Transfer[], curl: [] as (Transfer | undefined)[] };
    for (let run = 1; run <= runs; run += 1) {
      log(`run ${run} of ${runs}`);
      taken.curl.push(runCurl({ endpoint, certificatePath, dataset }));
      taken.ours.push(await daemon.load(`s3://${dataset.bucket}/`));
    }
    const ours = transferRow('primed, durable, checksummed, indexed', taken.ours)!;
    const curl = transferRow('curl to /dev/null', taken.curl);
    return {
      title: 'Large objects over TLS',
      about:
        'The same load over TLS (ECDSA P-256 certificate, trusted by `ca_file`). curl fetches the same objects one after the other and throws them away.',
      parameters: { objects: count, objectMiB: objectBytes / MiB },
      rows: curl === undefined ? [ours] : [ours, curl],
      verdicts:
        curl === undefined
          ? []
          : [
              verdict(
                'Large objects over TLS: CPU per GiB, against curl to /dev/null',
                ratioOfRuns(ours.figures['CPU per GiB']!, curl.figures['CPU per GiB']!),
                'x',
                'at most',
                1.3,
              ),
            ],
      notes: curl === undefined ? ['curl is not installed and was left out'] : [],
    };
  },
};
