/** The story of a file: why it is cached or not, by what is kept, and by nothing else. */
import { expect, test } from 'vitest';
import type { FileEvent, FileHistory } from '../../../src/core/file-events.ts';
import { keptMessage, keptReason } from '../../../src/core/file-events.ts';
import { type StoryFacts, storyOf } from '../../../src/core/story.ts';
import type { JobId, RunId } from '../../../src/core/types.ts';
import { noHistory } from '../../support/no-history.ts';
import { newSnapshot, snapshotOf } from '../../support/snapshot.ts';

const path = 's3://b/dir/a';
const minute = 60_000;
const nowMs = Date.UTC(2026, 0, 2);

function tell(more: Partial<StoryFacts>) {
  return storyOf({ path, nowMs, jobs: [], stat: undefined, told: [], unanswered: [], placement: [], ...more });
}

function told(worker: string, events: readonly FileEvent[], more: Partial<FileHistory> = {}) {
  return { worker, history: { ...noHistory, keptSinceMs: nowMs - 60 * minute, events, ...more } };
}

const failedSoon = { state: 'FAILED', startedAtMs: 1, endedAtMs: 2 } as const;
const succeeded = { state: 'SUCCEEDED', startedAtMs: 1, endedAtMs: 1, processedFiles: 4, loadedFiles: 4 } as const;
const gone = { kind: 'gone', path, bytes: 2048, etag: 'v1' } as const;

test.each<[string, Partial<StoryFacts>, RegExp]>([
  [
    'nobody has heard of it',
    { told: [told('w', [])] },
    /never asked for, as far as is kept\. .*since 2026-01-01T23:00/,
  ],
  [
    'a load is on its way',
    { jobs: [snapshotOf(path, { jobId: 'j' as JobId })] },
    /absent yet|cached yet: load j of .* is RUNNING/,
  ],
  [
    'a load is over, and nothing is kept of the file',
    { jobs: [snapshotOf(path, succeeded)], told: [told('w', [])] },
    /no worker that answered has a record of it since .*; loads of it are below/,
  ],
  [
    'the last load of it failed at its listing',
    {
      jobs: [
        newSnapshot('s3://b/', { ...failedSoon, jobId: 'late' as JobId, reason: 'ORIGIN_DENIED: 403' }),
        snapshotOf(path, succeeded),
      ],
    },
    /cached\. The last load of it, late, ended FAILED: it ended before its listing did, .*: ORIGIN_DENIED: 403\.$/,
  ],
  [
    'it was evicted',
    { told: [told('w3', [{ ...gone, reason: 'space', job: 'x', atMs: nowMs - 12 * minute }])] },
    /: 12m 0s ago on w3: evicted \(2048B\): not used for longest, to make room for load x\.$/,
  ],
  [
    'a directory above it was freed by a run that a job names',
    {
      jobs: [snapshotOf('s3://b/', { type: 'FREE', jobId: 'y' as JobId, runId: 'run-y' as RunId })],
      told: [told('w', [{ ...gone, path: 's3://b/', reason: 'freed', run: 'run-y', files: 7, atMs: nowMs }])],
    },
    /0s ago on w: freed by free y, with all that was cached at and below s3:\/\/b\/ \(7 files/,
  ],
  [
    'the newest counts, whoever tells it',
    {
      told: [
        told('w1', [{ ...gone, reason: 'ttl', atMs: nowMs - minute }]),
        told('w2', [
          { kind: 'given-up', path, job: 'x', etag: 'v1', code: 'ORIGIN_DENIED', message: 'no', atMs: nowMs },
        ]),
      ],
    },
    /on w2: load x gave it up: ORIGIN_DENIED, no\./,
  ],
  ['somebody was not heard', { unanswered: [{ id: 'w9', reason: 'lost' }] }, /Not heard: w9\.$/],
])('where %s', (_, facts, text) => {
  const { now } = tell(facts);
  expect(now).toMatchObject({ state: 'absent', text: expect.stringMatching(text) });
});

test('all that is told is in the order in which it happened, gaps too, and each item says who', () => {
  const { story } = tell({
    told: [
      told('w1', [{ ...gone, reason: 'quota', atMs: 30 }], { gaps: [{ fromMs: 5, toMs: 20, why: 'crash' }] }),
      told('w2', [{ ...gone, reason: 'replaced', newEtag: 'v2', atMs: 10 }]),
    ],
  });
  expect(story.map(({ at, kind, worker }) => [Date.parse(at), kind, worker])).toEqual([
    [10, 'replaced', 'w2'],
    [20, 'gap', 'w1'],
    [30, 'evicted', 'w1'],
  ]);
});

test('loads of other paths are left out, and of index files those that do not name it are counted', () => {
  const index = { kind: 'index', path: '/lists/x' } as const;
  const failures = [{ path, code: 'ORIGIN_DENIED' as const, message: `${path}: 403` }];
  const jobs = [
    snapshotOf('s3://b/di', { jobId: 'other' as JobId }),
    snapshotOf('', { jobId: 'index' as JobId, source: index }),
    snapshotOf('', { jobId: 'named' as JobId, source: index, state: 'FAILED', endedAtMs: 9, failedFiles: 1, failures }),
    ...Array.from({ length: 21 }, (_, n) => snapshotOf('s3://b/', { jobId: `${n}` as JobId })),
  ];
  const { now, story } = tell({ jobs });
  expect(now).toMatchObject({ indexLoads: 1, olderLoads: 2 });
  expect(story.filter(({ job }) => job === 'other' || job === 'index')).toEqual([]);
  expect(story.find(({ kind }) => kind === 'load-ended')).toMatchObject({
    job: 'named',
    outcome: 'failed',
    failure: '403',
  });
});

test('a message is kept short, and without what signs a URL', () => {
  const signed = 'see https://h/b/k?X-Amz-Signature=abc&X-Amz-Credential=AKIA, or http://h/x?sig=1';
  expect(keptMessage(signed)).toBe('see https://h/b/k?... or http://h/x?...');
  expect(keptMessage('x'.repeat(9_999)).length).toBe(500);
});

test('of a long message the end is kept too, which has the id of the request, and no part of what signs a URL', () => {
  const kept = keptMessage(`bytes 0-9: ${'word '.repeat(300)}(HTTP 403, request id 3CDEBC75382F0294)`);
  expect(kept).toMatch(/^bytes 0-9: word .* \.\.\. .*word \(HTTP 403, request id 3CDEBC75382F0294\)$/);
  expect(kept.length).toBeLessThanOrEqual(500);
  expect(keptMessage(`${'x'.repeat(300)} https://h/k?${'signed'.repeat(200)} (request id 7)`)).not.toContain('signed');
});

test('why a file was given up is kept without its name, which may be longer than all that is kept', () => {
  const long = `s3://b/${'k'.repeat(1000)}`;
  const message = `${long}: bytes 0-9: denied (HTTP 403, request id 7)`;
  expect(keptReason({ path: long, message })).toBe('bytes 0-9: denied (HTTP 403, request id 7)');
  expect(keptReason({ path: 's3://b/other', message: 'no' })).toBe('no');
});
