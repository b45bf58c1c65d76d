/** Workers that are known and cannot be asked: those that do not let the coordinator in, and those between two links. */
import { expect, test } from 'vitest';
import { ringPlacement } from '../../../src/cluster/placement.ts';
import { registryMembers } from '../../../src/cluster/registry-members.ts';
import { PrimedError } from '../../../src/core/errors.ts';
import type { WorkerRow } from '../../../src/core/membership.ts';
import type { WorkerId } from '../../../src/core/types.ts';
import { FakeCluster } from './fake-links.ts';

const refusal = new PrimedError('WORKER_REFUSED', 'it has another token');
const [w1, w2] = ['w1', 'w2'] as WorkerId[];

test('gets no segments while it refuses, and its share again when it does not', () => {
  const links = new FakeCluster();
  const say = new Map<WorkerId, (refusal: PrimedError | undefined) => void>();
  let rows = [w1!, w2!].map((id) => ({ id, epoch: 1, state: 'LIVE', drains: false, host: 'h' }) as WorkerRow);
  let registryChanged = (): void => undefined;
  const members = registryMembers({
    registry: {
      workers: () => rows,
      onChange: (listener) => {
        registryChanged = listener;
        return () => undefined;
      },
    },
    connect: ({ id }, onRefused) => {
      say.set(id, onRefused);
      return Object.assign(links.join(id), { lost: () => undefined });
    },
  });
  let changes = 0;
  members.onChange(() => {
    changes += 1;
  });
  const placement = ringPlacement(members);
  const owners = () =>
    placement
      .owners('s3://b/k', 0, 2)
      .map(({ id }) => id)
      .sort();
  expect(owners()).toEqual([w1, w2]);
  const first = say.get(w2!)!;
  first(refusal);
  expect([owners(), changes, members.refusalOf(w2!)]).toEqual([[w1], 1, refusal]);
  // It is a member all the same: what it has is not denied.
  expect(members.live().map(({ id, takes }) => [id, takes])).toEqual([
    [w1, true],
    [w2, false],
  ]);
  first(undefined);
  expect([owners(), members.refusalOf(w2!)]).toEqual([[w1, w2], undefined]);
  // What an earlier registration has said is not said of the next one.
  first(refusal);
  rows = rows.map((row) => (row.id === w2 ? { ...row, epoch: 2 } : row));
  registryChanged();
  expect([owners(), members.refusalOf(w2!)]).toEqual([[w1, w2], undefined]);
  first(refusal);
  expect(members.refusalOf(w2!)).toBe(undefined);
});

test('who registers again is absent until it is linked: at no time it is neither there nor away', () => {
  const links = new FakeCluster();
  let rows = [w1!, w2!].map((id) => ({ id, epoch: 1, state: 'LIVE', drains: false, host: 'h' }) as WorkerRow);
  let registryChanged = (): void => undefined;
  const members = registryMembers({
    registry: {
      workers: () => rows,
      onChange: (listener) => {
        registryChanged = listener;
        return () => undefined;
      },
    },
    connect: ({ id }) => Object.assign(links.join(id), { lost: () => undefined }),
  });
  const seen = () => [members.live().map(({ id }) => id), members.absent()];
  expect(seen()).toEqual([[w1, w2], []]);
  rows = rows.map((row) => (row.id === w2 ? { ...row, state: 'LOST' } : row));
  registryChanged();
  expect(seen()).toEqual([[w1], [w2]]);
  // The registration is decided, and being written down.
  rows = rows.map((row) => (row.id === w2 ? { ...row, state: 'LIVE', epoch: 2 } : row));
  expect(seen()).toEqual([[w1], [w2]]);
  registryChanged();
  expect(seen()).toEqual([[w1, w2], []]);
});
