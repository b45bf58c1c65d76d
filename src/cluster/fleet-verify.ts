/**
 * Every page of a file on every replica, and the whole object: by the worker that has all of it, else from the checksums of its
 * segments, where the origin states one that can be joined from those (a CRC of the full object; no MD5, no SHA).
 */
import { abortable } from '../core/abortable.ts';
import type { Checksums } from '../core/attributes.ts';
import { type ErrorReport, reportOf } from '../core/errors.ts';
import { type Segment, segmentsOf } from '../core/segments.ts';
import { type ByteRange, type ManifestEntry, sameVersion } from '../core/types.ts';
import type { VerifyOutcome } from '../ingest/types.ts';
import { type JoinedKind, joinedSum, type RangeSum } from '../ingest/whole-object.ts';
import type { Origins } from '../origin/types.ts';
import type { Places } from './fleet-places.ts';
import type { FleetRun } from './fleet-run.ts';
import type { Holders } from './fleet-survey.ts';
import { append } from './grouping.ts';
import type { Member } from './members.ts';
import { saidBy } from './segment-failure.ts';

/** `gone`: a worker that had some of it is lost, refuses, or has it no more. That says nothing of its pages. */
export type FileVerdict =
  /** `whole`: on every replica together the bytes have a checksum that the origin states of all of them; else the pages alone are right. */
  | { readonly verdict: 'right'; readonly whole: boolean }
  | { readonly verdict: 'gone'; readonly error: ErrorReport }
  | { readonly verdict: 'bad'; readonly badPages: number; readonly error: ErrorReport };

const ofGone: ReadonlySet<string> = new Set(['FILE_NOT_CACHED', 'WORKER_LOST', 'WORKER_REFUSED']);

/** Never rejects. @param holders who has segments that not all of their owners have, by index */
export async function verifyFile(
  places: Places,
  origins: Pick<Origins, 'head'>,
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
    const apart = [...byMember.values()].some((segments) => lengthOf(segments) < file.sizeBytes);
    const stated = apart ? await statedSum(origins, run, file) : undefined;
    const checked = await Promise.all(
      Array.from(byMember, async ([member, segments]) => ({
        member,
        outcome: await verifyAt(run, file, member, segments, stated?.kind),
      })),
    );
    const verdicts = checked.map(({ member, outcome }) => failureOf(member, outcome));
    const wrong = verdicts.find((one) => one?.verdict === 'bad') ?? verdicts.find((one) => one?.verdict === 'gone');
    if (wrong !== undefined) return wrong;
    const matched = checked.every(({ outcome }) => outcome.wholeObject === 'matched');
    if (stated === undefined) return { verdict: 'right', whole: matched };
    const sums = checked.flatMap(({ outcome }) => outcome.sums ?? []);
    const same = isSumOf(file, stated, sums);
    if (same === true) await Promise.allSettled(checked.map(({ member }) => tell(run, file, member, stated.checksums)));
    if (same !== false) return { verdict: 'right', whole: same ?? false };
    // Each page has its checksum, so every reader would be given these bytes, and every later load would skip them.
    await Promise.allSettled(checked.map(({ member }) => member.link.discard(run.spec.run, file)));
    const { path } = file;
    const message = `${path}: its segments together did not have the whole-object checksum that the origin states (${stated.kind}), and were removed; load the file again`;
    return { verdict: 'bad', badPages: 0, error: { code: 'STORE_CORRUPT', message } };
  } catch (error) {
    return { verdict: 'bad', badPages: 0, error: reportOf(error) };
  }
}

/** The first that is stated. A worker of a release that does not know the last one says no sums of it, and the pages are checked alone. */
const joinedKinds: readonly JoinedKind[] = ['crc64nvme', 'crc32c', 'crc32'];

interface StatedSum {
  readonly kind: JoinedKind;
  /** As S3 writes it: base64. */
  readonly sum: string;
  /** All that the origin states. */
  readonly checksums: Checksums;
}

/** Undefined: the origin states none of this version that can be joined, or does not answer; the pages are checked all the same. */
async function statedSum(
  origins: Pick<Origins, 'head'>,
  run: FleetRun,
  file: ManifestEntry,
): Promise<StatedSum | undefined> {
  try {
    const found = await abortable(origins.head(file.path, run.signal), run.signal);
    if (!sameVersion(found, file)) return undefined;
    const { checksums } = found;
    const kind = joinedKinds.find((one) => checksums[one] !== undefined);
    return kind && { kind, sum: checksums[kind]!, checksums };
  } catch {
    return undefined;
  }
}

/** Undefined: not every segment has a sum (a worker that has all of the file has compared it by itself). */
function isSumOf(file: ManifestEntry, { kind, sum }: StatedSum, sums: readonly RangeSum[]): boolean | undefined {
  const byOffset = new Map<number, RangeSum>();
  for (const one of sums) {
    // Replicas have to agree, else one of them is wrong.
    if ((byOffset.get(one.offset) ?? one).sum !== one.sum) return false;
    byOffset.set(one.offset, one);
  }
  if (lengthOf([...byOffset.values()]) !== file.sizeBytes) return undefined;
  return joinedSum(kind, byOffset.values()) === sum;
}

function lengthOf(ranges: readonly ByteRange[]): number {
  return ranges.reduce((sum, { length }) => sum + length, 0);
}

/** May fail: readers are told what any worker knows that has some of the file, and its bytes are right all the same. */
async function tell(run: FleetRun, file: ManifestEntry, member: Member, checksums: Checksums): Promise<void> {
  await run.enter(member);
  await member.link.stateChecksums(run.spec.run, file, checksums);
}

type Checked = Pick<VerifyOutcome, 'ok' | 'badPages' | 'wholeObject' | 'error' | 'sums'>;

async function verifyAt(
  run: FleetRun,
  file: ManifestEntry,
  member: Member,
  segments: Segment[],
  sums: JoinedKind | undefined,
): Promise<Checked> {
  try {
    await run.enter(member);
    return await member.link.verify(run.spec.run, file, segments, sums);
  } catch (error) {
    return { ok: false, badPages: 0, wholeObject: 'unavailable', error: reportOf(error) };
  }
}

/** Undefined: it is right. */
function failureOf(member: Member, { ok, badPages, wholeObject, error }: Checked): FileVerdict | undefined {
  if (ok) return undefined;
  if (error !== undefined && ofGone.has(error.code)) return { verdict: 'gone', error: saidBy(member, error) };
  const message =
    wholeObject === 'mismatched' ? "the whole-object checksum is not the origin's" : `${badPages} pages are bad`;
  return { verdict: 'bad', badPages, error: saidBy(member, error ?? { code: 'STORE_CORRUPT', message }) };
}
