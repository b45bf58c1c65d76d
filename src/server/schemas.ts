/**
 * What the routes of the API take and answer, as schemas: requests are checked by them, and /openapi.json tells both. Answers
 * are not made by them: see `documented`.
 */
import type { FastifyInstance } from 'fastify';
import { type TSchema, Type } from 'typebox';
import { jobStates, jobTypes } from '../core/job.ts';
import { limitCauseNames } from '../core/limit-causes.ts';

export const strict = { additionalProperties: false };
const open = { additionalProperties: true };
const words = (list: readonly string[]) => Type.Unsafe<string>({ type: 'string', enum: [...list] });
const text = Type.String();
const optional = Type.Optional;
const count = Type.Integer({ minimum: 0 });
/** What limits a load of late, largest share first; once it has ended, what did. */
const limitedBy = Type.Optional(
  Type.Array(
    Type.Object({
      cause: words(limitCauseNames),
      share: Type.Number({ minimum: 0, maximum: 1 }),
      detail: Type.Optional(Type.String()),
    }),
  ),
);
const time = Type.String({ format: 'date-time' });

/** Makes the answers of a scope plain JSON: their schemas are for readers, and take nothing away. */
export function documented(scope: FastifyInstance): void {
  scope.setSerializerCompiler(() => (data) => JSON.stringify(data));
}

// --- errors

const errorFields = {
  statusCode: Type.String({ description: 'A gRPC status name' }),
  message: text,
  code: optional(Type.String({ description: 'The code by which docs/ERRORS.md says what to do' })),
};
export const ErrorBody = Type.Object(errorFields, { description: 'What failed, on what, why, and what to do' });
/** Of the third generation. */
export const StatusErrorBody = Type.Object({ status: text, ...errorFields });

const reasons: Readonly<Record<number, string>> = {
  400: 'A field is missing, unknown or wrong; the message names it',
  401: 'The token is missing or wrong',
  403: 'The role of the token does not allow it',
  404: 'There is no such thing',
  405: 'The cache is read-only',
  409: 'It cannot be done beside what is under way',
  413: 'More than is taken at once; the message says the most',
  416: 'The range lies outside the file',
  429: 'Too many at once; try again later',
  503: 'Not at the moment; try again',
};

/** The answers of a route: of success, and of the failures that it may have. 401, 403 and 500 are everywhere. */
export function answers(
  ok: TSchema,
  statuses: readonly number[] = [],
  error: TSchema = ErrorBody,
): Record<string, unknown> {
  return answersOf({ description: 'Done', content: { 'application/json': { schema: ok } } }, statuses, error);
}

/** The same for an answer of other types than JSON. */
export function answersOf(
  ok: { readonly description: string; readonly content: Readonly<Record<string, { schema: TSchema }>> },
  statuses: readonly number[] = [],
  error: TSchema = ErrorBody,
): Record<string, unknown> {
  const failures = [...new Set([400, 401, 403, ...statuses])].sort((a, b) => a - b);
  const failure = (description: string) => ({ description, content: { 'application/json': { schema: error } } });
  return {
    200: ok,
    ...Object.fromEntries(failures.map((status) => [status, failure(reasons[status] ?? 'It failed')])),
    500: failure('A defect, or a failing disk; the log of the daemon says more'),
  };
}

// --- jobs

const flag = optional(Type.Union([Type.String(), Type.Boolean()]));
const number = optional(Type.Union([Type.String(), Type.Number()]));

const optionFields = {
  replicas: number,
  batchSize: number,
  segmentSize: number,
  partialListing: flag,
  loadMetadataOnly: flag,
  skipIfExists: flag,
  verify: flag,
  bandwidth: number,
  priority: number,
  fileFilterRegx: optional(text),
  fileFilterRegex: optional(text),
};
/** The parser of the options refuses others, and says which there are. */
export const LoadOptionFields = Type.Object(optionFields, open);
export const LoadOptionAndPolicyFields = Type.Object(
  {
    ...optionFields,
    loadPolicy: optional(
      Type.String({
        description:
          'IF_CHANGED: only what is missing, or is another version than the origin has now, is fetched; the same as skipIfExists',
      }),
    ),
  },
  open,
);
export const flagField = flag;

export const Submitted = Type.Object({ success: Type.Boolean(), jobId: text, path: text, message: text });
export const JobRow = Type.Object(
  {
    jobId: text,
    type: words(jobTypes),
    path: optional(text),
    indexFile: optional(text),
    paths: optional(Type.Array(text)),
    alias: optional(text),
    state: words(jobStates),
    reason: optional(text),
    submittedAt: time,
    startedAt: optional(time),
    endedAt: optional(time),
    options: Type.Object({}, open),
    files: optional(count),
    bytes: optional(count),
    scannedFiles: optional(Type.Integer({ minimum: 0, description: 'Keys so far, while they are being listed' })),
    bytesPerSecond: optional(count),
    etaMs: optional(count),
    limitedBy,
    failures: count,
  },
  open,
);
export const LoadReport = Type.Object(
  {
    mJobState: words(jobStates),
    mVerbose: Type.Boolean(),
    mBandwidth: optional(Type.Number()),
    mVerificationEnabled: Type.Boolean(),
    mProcessedFileCount: count,
    mTotalFileCount: optional(count),
    mLoadedByteCount: count,
    mTotalByteCount: optional(count),
    mThroughput: optional(count),
    mFailurePercentage: Type.Number(),
    mFailedFileCount: count,
    mFailedFilesWithReasons: optional(Type.Record(Type.String(), text)),
    mSkippedByteCount: count,
    mSkipIfExists: Type.Boolean(),
    mMetadataOnly: Type.Boolean(),
    mTimeElapsed: count,
    jobId: text,
    limitedBy,
  },
  open,
);
export const FreeReport = Type.Object(
  {
    jobId: text,
    type: words(['FREE']),
    path: text,
    mJobState: words(jobStates),
    mTimeElapsed: count,
    dryRun: Type.Boolean(),
    files: count,
    bytes: count,
    freedFiles: count,
    freedBytes: count,
    workers: Type.Array(
      Type.Object({
        worker: text,
        files: count,
        bytes: count,
        freedFiles: count,
        freedBytes: count,
        done: Type.Boolean(),
      }),
    ),
    absentWorkers: Type.Array(text),
  },
  open,
);
/** A report in the form that was asked for. */
export const reported = (schema: TSchema) => ({
  description: 'The report, as TEXT or JSON',
  content: { 'text/plain': { schema: text as TSchema }, 'application/json': { schema } },
});

/** An object of the third generation. */
export const LoadJob = Type.Object(
  {
    id: text,
    alias: optional(text),
    startTime: time,
    state: words(jobStates),
    runningState: Type.String({ description: 'What it is at; empty when it has ended' }),
    errorMessage: Type.Record(Type.String(), text, { description: 'Reasons: of the `job`, and by file' }),
    failedFileListPath: Type.String({ description: 'Always empty: failed files are in errorMessage' }),
    paths: Type.Array(text),
    index: text,
    skipIfExists: Type.Boolean(),
    loadMetadataOnly: Type.Boolean(),
    verify: Type.Boolean(),
    bandwidth: Type.Number({ description: 'Bytes a second of one worker; 0: unlimited' }),
    timeElapsedMilliseconds: count,
    loadedBytes: count,
    skippedBytes: count,
    totalBytes: optional(Type.Integer({ minimum: 0, description: 'Absent until the listing is done' })),
    loadedNonEmptyFiles: count,
    failedFiles: count,
    scannedFiles: count,
    quota: Type.Object(
      { totalBytes: count, remaining: count, unlimited: Type.Boolean() },
      { description: 'There are no quotas: both figures are 0, and unlimited is true' },
    ),
    quotaCheckError: text,
  },
  open,
);

// --- files

const FileEntry = Type.Object(
  {
    path: text,
    type: words(['file']),
    state: text,
    sizeBytes: count,
    cachedBytes: count,
    missingBytes: count,
    etag: text,
    versionId: optional(text),
    pinned: optional(Type.Boolean()),
    lastModified: time,
  },
  open,
);
const Directory = Type.Object({ path: text, type: words(['directory']) }, open);

/** Summary and answers of the routes about files, by their URL. */
export const fsDocs: Readonly<Record<string, { readonly summary: string; readonly response: object }>> = {
  '/api/v1/fs/ls': {
    summary: 'One level of a directory, or every file below it',
    response: answers(
      Type.Object({ path: text, entries: Type.Array(Type.Union([FileEntry, Directory])), next: optional(text) }, open),
      [404],
    ),
  },
  '/api/v1/fs/stat': {
    summary: 'How much of a path is cached',
    response: answers(
      Type.Object(
        {
          ...{ path: text, type: words(['file', 'directory']) },
          ...{ files: count, bytes: count, cachedFiles: count, cachedBytes: count },
          pinned: optional(Type.Boolean()),
          file: optional(FileEntry),
        },
        open,
      ),
      [404],
    ),
  },
  '/api/v1/fs/cat': {
    summary: 'Bytes of a cached file, each page checked before it leaves',
    response: answersOf(
      {
        description: 'The bytes',
        content: { 'application/octet-stream': { schema: Type.String({ format: 'binary' }) } },
      },
      [404, 416, 503],
    ),
  },
  '/api/v1/fs/check': {
    summary: 'Reads every page of the cached files again, and compares its checksum',
    response: answersOf(
      {
        description: 'What was found; as application/x-ndjson also lines while it runs',
        content: {
          'application/json': {
            schema: Type.Object(
              {
                ...{ path: text, ok: Type.Boolean(), checkedFiles: count, checkedBytes: count, badPageCount: count },
                ...{ uncheckedFiles: count, goneFiles: count, badPages: Type.Array(Type.Object({}, open)) },
              },
              open,
            ),
          },
          'application/x-ndjson': { schema: text },
        },
      },
      [404, 503],
    ),
  },
};

export const FileStory = Type.Object(
  {
    path: text,
    now: Type.Object(
      {
        state: words(['complete', 'partial', 'metadata', 'loading', 'absent']),
        text: Type.String({ description: 'Whether it is cached, and where not, why' }),
        dropped: count,
        olderLoads: count,
        indexLoads: count,
        keptSince: optional(time),
      },
      open,
    ),
    story: Type.Array(
      Type.Object(
        { at: time, kind: text, worker: optional(text), job: optional(text), text },
        { ...open, description: 'What happened, in one sentence, and what that was made of' },
      ),
      { description: 'The oldest first' },
    ),
  },
  open,
);

// --- workers

export const WorkerRow = Type.Object(
  {
    id: text,
    state: words(['LIVE', 'DRAINING', 'LOST', 'REFUSED']),
    reason: optional(text),
    drains: Type.Boolean(),
    host: text,
    httpPort: count,
    s3Port: count,
    zone: optional(text),
    version: text,
    epoch: count,
    capacityBytes: count,
    freeBytes: count,
    files: count,
    bytesPerSecond: optional(Type.Integer({ minimum: 0, description: 'From origins, for loads of this coordinator' })),
    use: optional(
      Type.Object(
        { reservedBytes: count, pinnedBytes: count, heldBytes: count },
        { ...open, description: 'What of its store is for whom, and its rates of late' },
      ),
    ),
    origins: optional(
      Type.Array(
        Type.Object({ origin: text, requestsPerMinute: count, bytesPerSecond: count, firstByteMs: count }, open),
        {
          description: 'How origins answer it of late, with failures a minute by kind',
        },
      ),
    ),
    registeredAt: time,
    lastSeenAt: time,
    leaseEndsAt: time,
  },
  open,
);

// --- pins

export const PinRow = Type.Object(
  {
    path: text,
    pinned: Type.Boolean(),
    pending: Type.Array(text, { description: 'Live workers that do not know yet' }),
  },
  { ...open, description: 'A path that is never evicted; with a slash at its end, all that begins with it' },
);

// --- origins

export const UfsRow = Type.Object(
  { origin: text, source: text, shares: Type.Array(Type.Object({}, open)) },
  { ...open, description: 'An origin, the limits that hold for it, and who has which share' },
);
