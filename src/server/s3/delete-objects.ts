/**
 * The document of DeleteObjects, and the answer to it. What is passed on is written anew from what was read: so what a key was allowed to
 * delete and what the origin takes the document for cannot differ.
 *
 * A thousand keys may be 8 MB, and take a third of a second: others have the thread in between.
 */
import { setImmediate } from 'node:timers/promises';
import { type Deletion, DeletionsReader, deletionElements } from './deletions-reader.ts';
import { S3Error } from './errors.ts';
import { document, element, s3Namespace } from './xml.ts';

/** A key that is not passed on to the origin, and why. */
export interface RefusedDeletion extends Deletion {
  readonly error: S3Error;
}

/** So much is read before others are looked after: some hundred keys as they usually are, or a few of the longest. */
const sliceBytes = 16 * 1024;
/** Longest time for which others wait. */
const sliceMs = 2;

/** Throws S3Error MalformedXML, KeyTooLongError, and whatever reading it throws. */
export async function deletionsOf(
  pieces: AsyncIterable<Uint8Array>,
): Promise<{ readonly objects: readonly Deletion[]; readonly quiet: boolean }> {
  const reader = new DeletionsReader();
  const turn = new Turn();
  for await (const piece of pieces) {
    for (let at = 0; at < piece.length; at += sliceBytes) {
      reader.push(piece.subarray(at, at + sliceBytes));
      if (turn.isOver) await turn.next();
    }
  }
  return reader.end();
}

export async function deletionsXml(objects: readonly Deletion[], quiet: boolean): Promise<Buffer> {
  const rows = await written(objects, (object) => {
    const values = deletionElements.map(([name, field]) => {
      const value = object[field];
      return value === undefined ? '' : element(name, value);
    });
    return `<Object>${values.join('')}</Object>`;
  });
  const [begin, end] = document(`<Delete xmlns="${s3Namespace}">\0${element('Quiet', quiet)}</Delete>`).split('\0');
  return Buffer.concat([Buffer.from(begin!), ...rows, Buffer.from(end!)]);
}

/** An answer of an origin that was asked for nothing. */
export const noDeletions = Buffer.from(document(`<DeleteResult xmlns="${s3Namespace}"></DeleteResult>`));

const endBytes = 1024;
const resultEnd = /<\/(\w+:)?DeleteResult\s*>\s*$/;
const resultEmpty = /<((?:\w+:)?DeleteResult)([^<>]*?)\/>\s*$/;

/** The answer of an origin with an Error for each key that it was not asked for. Throws S3Error where it is no such answer. */
export async function withRefused(answer: Buffer, refused: readonly RefusedDeletion[]): Promise<Buffer> {
  const before = answer.subarray(0, Math.max(0, answer.length - endBytes));
  const last = answer.subarray(before.length).toString('latin1').replace(resultEmpty, '<$1$2></$1>');
  const end = resultEnd.exec(last);
  if (end === null)
    throw new S3Error('InternalError', 'The origin answered a deletion with something else than a DeleteResult.');
  const prefix = end[1] ?? '';
  const rows = await written(refused, ({ key, versionId, error }) => {
    const facts = [
      ['Key', key],
      ...(versionId === undefined ? [] : [['VersionId', versionId]]),
      ['Code', error.code],
      ['Message', error.message],
    ] as [string, string][];
    return `<${prefix}Error>${facts.map(([name, text]) => element(`${prefix}${name}`, text)).join('')}</${prefix}Error>`;
  });
  return Buffer.concat([
    ...[before, Buffer.from(last.slice(0, end.index), 'latin1'), ...rows],
    Buffer.from(last.slice(end.index), 'latin1'),
  ]);
}

async function written<One>(all: readonly One[], row: (one: One) => string): Promise<Buffer[]> {
  const rows: Buffer[] = [];
  const turn = new Turn();
  for (const one of all) {
    rows.push(Buffer.from(row(one)));
    if (turn.isOver) await turn.next();
  }
  return rows;
}

/** Of this request, among others on the thread. */
class Turn {
  #beganMs = performance.now();

  get isOver(): boolean {
    return performance.now() - this.#beganMs > sliceMs;
  }

  async next(): Promise<void> {
    await setImmediate();
    this.#beganMs = performance.now();
  }
}
