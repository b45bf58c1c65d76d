/** The largest resident set of the daemon for one huge object, and for very many small ones, beside its budget. */
import { KiB, MiB } from '../../src/core/units.ts';
import { startNginx } from '../origins/nginx.ts';
import { startDaemon } from '../support/daemon.ts';
import { type Dataset, makeDataset } from '../support/dataset.ts';
import { figure, type Row, verdict } from '../support/results.ts';
import { type Context, freeDiskBytes, type Scenario } from '../support/scenario.ts';

const budgetMiB = 512;
const GiB = 1024 * MiB;

export const memory: Scenario = {
  summary: 'peak memory for one object of 50 GiB and for 200,000 small ones (--size scales the first)',
  async run(context) {
    const { workspace, quick, log } = context;
    const notes: string[] = [];
    const hugeBytes = sizeOfHuge(context, notes);
    const smallCount = quick ? 5000 : 200_000;
    const root = workspace.folder('origin');
    const huge = makeDataset({ root, bucket: 'bench-huge', count: 1, objectBytes: hugeBytes, sparse: true });
    log(`making ${smallCount} objects`);
    const small = makeDataset({ root, bucket: 'bench-tiny', count: smallCount, objectBytes: 4 * KiB });
    const origin = await startNginx(workspace, { root, datasets: [huge, small] });

    log(`loading one object of ${(hugeBytes / GiB).toFixed(1)} GiB`);
    const afterHuge = await peakOf(context, origin.endpoint, huge);
    log(`loading ${smallCount} objects`);
    const afterSmall = await peakOf(context, origin.endpoint, small);
    const hugeName = `one object of ${(hugeBytes / GiB).toFixed(0)} GiB`;
    const smallName = `${smallCount.toLocaleString('en-US')} objects of 4 KiB`;
    return {
      title: 'Memory of the daemon',
      about: `Largest resident set of the whole process (VmHWM: code, heap, slots and mapped index together), with a budget of ${budgetMiB} MiB. The huge object is a hole at the origin, and all of its bytes are received and written.`,
      parameters: { budgetMiB, hugeGiB: hugeBytes / GiB, smallObjects: smallCount },
      rows: [afterHuge.idle, { ...afterHuge.row, name: hugeName }, { ...afterSmall.row, name: smallName }],
      verdicts: [
        verdict(`Peak memory, ${hugeName}`, afterHuge.peakMiB, 'MiB', 'at most', budgetMiB),
        verdict(`Peak memory, ${smallName}`, afterSmall.peakMiB, 'MiB', 'at most', budgetMiB),
      ],
      notes,
    };
  },
};

/** 50 GiB where the disk has room for it with a fifth to spare; else what fits, and says so. */
function sizeOfHuge({ workspace, quick, sizeBytes }: Context, notes: string[]): number {
  const wanted = sizeBytes ?? (quick ? 1 : 50) * GiB;
  const room = Math.floor((freeDiskBytes(workspace) * 0.8) / MiB) * MiB - 2 * GiB;
  if (wanted <= room) return wanted;
  notes.push(`the disk has no room for ${wanted / GiB} GiB; ${(room / GiB).toFixed(1)} GiB were loaded`);
  return room;
}

/** A daemon of its own for each, because a peak belongs to the life of a process. */
async function peakOf(
  { workspace }: Context,
  endpoint: string,
  dataset: Dataset,
): Promise<{ idle: Row; row: Row; peakMiB: number }> {
  const alignedBytes = dataset.totalBytes + dataset.objects.length * 4 * KiB;
  const store = { dir: workspace.folder('store'), sizeBytes: Math.ceil((alignedBytes * 1.02) / MiB) * MiB + 64 * MiB };
  const daemon = await startDaemon(workspace, { origin: { endpoint }, stores: [store] });
  const rowOf = (name: string): Row => {
    const { peakBytes, anonymousBytes } = daemon.memory();
    return {
      name,
      figures: { peak: figure('MiB', [peakBytes / MiB]), 'not backed by files': figure('MiB', [anonymousBytes / MiB]) },
    };
  };
  const idle = rowOf('ready, before any load');
  await daemon.load(`s3://${dataset.bucket}/`);
  const row = rowOf('after the load');
  await daemon.stop();
  return { idle, row, peakMiB: row.figures.peak!.value };
}
