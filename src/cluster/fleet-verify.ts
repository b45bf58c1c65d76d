/** Every page of a file on every replica, and the whole object where one worker has all of it. */
import { reportOf } from '../core/errors.ts';
import { type Segment, segmentsOf } from '../core/segments.ts';
import type { ManifestEntry } from '../core/types.ts';
import type { VerifyOutcome } from '../ingest/types.ts';
import type { Places } from './fleet-places.ts';
import type { FleetRun } from './fleet-run.ts';
import { append } from './grouping.ts';
import type { Member } from './members.ts';

/** Never rejects. */
export async function verifyFile(places: Places, run: FleetRun, file: ManifestEntry): Promise<VerifyOutcome> {
  try {
    const byMember = new Map<Member, Segment[]>();
    for (const segment of segmentsOf(file, places.segmentBytesOf(run, file))) {
      for (const member of await places.owners(run, file.path, segment.index)) append(byMember, member, segment);
    }
    const outcomes = await Promise.all(
      Array.from(byMember, async ([member, segments]) => {
        await run.enter(member);
        return member.link.verify(run.spec.run, file, segments);
      }),
    );
    return outcomes.find(({ ok }) => !ok) ?? together(file, outcomes);
  } catch (error) {
    const { path } = file;
    return { path, ok: false, checkedBytes: 0, badPages: 0, wholeObject: 'unavailable', error: reportOf(error) };
  }
}

function together({ path }: ManifestEntry, outcomes: readonly VerifyOutcome[]): VerifyOutcome {
  const checkedBytes = outcomes.reduce((sum, outcome) => sum + outcome.checkedBytes, 0);
  const wholeObject = outcomes.find((one) => one.wholeObject !== 'unavailable')?.wholeObject ?? 'unavailable';
  return { path, ok: true, checkedBytes, badPages: 0, wholeObject };
}
