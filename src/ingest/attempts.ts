/** What is told of an attempt at a part. */
import { type AttemptEvent, keptMessage, type Untimed } from '../core/file-events.ts';
import type { PartTask, Run } from './run.ts';

type Said = { readonly [K in 'result' | 'durationMs']: AttemptEvent[K] } & {
  readonly [K in 'message' | 'httpStatus' | 's3Code' | 'requestId' | 'next' | 'delayMs']?: AttemptEvent[K] | undefined;
};

export function attemptAt(run: Run, { file, range, attempt }: PartTask, said: Said): Untimed<AttemptEvent> {
  const { message, httpStatus, s3Code, requestId, next, delayMs } = said;
  return {
    ...{
      kind: 'attempt',
      path: file.entry.path,
      job: run.spec.job,
      etag: file.entry.etag,
      offset: range.offset,
      length: range.length,
      attempt,
    },
    ...(file.peer === undefined ? {} : { from: file.peer.url }),
    ...{ result: said.result, durationMs: said.durationMs },
    ...(message === undefined ? {} : { message: keptMessage(message) }),
    ...(httpStatus === undefined ? {} : { httpStatus }),
    ...(s3Code === undefined ? {} : { s3Code: keptMessage(s3Code) }),
    ...(requestId === undefined ? {} : { requestId: keptMessage(requestId) }),
    ...(next === undefined ? {} : { next }),
    ...(delayMs === undefined ? {} : { delayMs }),
  };
}
