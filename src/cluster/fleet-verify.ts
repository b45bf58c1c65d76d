/** Every page of a file on every replica, and the whole object where one worker has all of it. */
import { type ErrorReport, reportOf } from '../core/errors.ts';
import { type Segment, segmentsOf } from '../core/segments.ts';
import type { ManifestEntry } from '../core/types.ts';
import type { VerifyOutcome } from '../ingest/types.ts';
import type { Places } from './fleet-places.ts';
import type { FleetRun } from './fleet-run.ts';
import type { Holders } from './fleet-survey.ts';
import { append } from './grouping.ts';
import type { Member } from './members.ts';
import { saidBy } from './segment-failure.ts';

/** `gone`: a worker that had some of it is lost, refuses, or has it no more. That says nothing of its pages. */
export type FileVerdict =
  | { readonly verdict: 'right' }
  | { readonly verdict: 'gone'; readonly error: ErrorReport }
  | { readonly verdict: 'bad'; readonly badPages: number; readonly error: ErrorReport };

const ofGone: ReadonlySet<string> = new Set(['FILE_NOT_CACHED', 'WORKER_LOST', 'WORKER_REFUSED']);

/** Never rejects. @param holders who has segments that not all of their owners have, by index */
export async function verifyFile(
  places: Places,
  run: FleetRun,
  file: ManifestEntry,
  holders: Holders,
): Promise<FileVerdict> {
  try {
    const byMember = new Map<Member, Segment[]>();
    for (const segment of segmentsOf(file, places.segmentBytesOf(run, file))) {
      const has = holders.get(segment.index) ?? (await places.owners(run, file.path, segment.index));
      for (const member of has) append(byMember, member, segment);
    }
    const verdicts = await Promise.all(
      Array.from(byMember, async ([member, segments]) =>
        verdictOf(member, await verifyAt(run, file, member, segments)),
      ),
    );
    const bad = verdicts.find(({ verdict }) => verdict === 'bad');
    return bad ?? verdicts.find(({ verdict }) => verdict === 'gone') ?? { verdict: 'right' };
  } catch (error) {
    return { verdict: 'bad', badPages: 0, error: reportOf(error) };
  }
}

type Checked = Pick<VerifyOutcome, 'ok' | 'badPages' | 'wholeObject' | 'error'>;

async function verifyAt(run: FleetRun, file: ManifestEntry, member: Member, segments: Segment[]): Promise<Checked> {
  try {
    await run.enter(member);
    return await member.link.verify(run.spec.run, file, segments);
  } catch (error) {
    return { ok: false, badPages: 0, wholeObject: 'unavailable', error: reportOf(error) };
  }
}

function verdictOf(member: Member, { ok, badPages, wholeObject, error }: Checked): FileVerdict {
  if (ok) return { verdict: 'right' };
  if (error !== undefined && ofGone.has(error.code)) return { verdict: 'gone', error: saidBy(member, error) };
  const message =
    wholeObject === 'mismatched' ? "the whole-object checksum is not the origin's" : `${badPages} pages are bad`;
  return { verdict: 'bad', badPages, error: saidBy(member, error ?? { code: 'STORE_CORRUPT', message }) };
}
