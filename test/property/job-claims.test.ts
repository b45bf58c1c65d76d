/** Claims of jobs: whatever coordinators have heard, and whenever they die, a job runs under one newest term, and is never left alone. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Claim, claimActions, contendDelayMs } from '../../src/core/job-claims.ts';

/** etcd, as far as claims go: what is true, and what it was. */
class Truth {
  claims = new Map<string, Claim | undefined>();
  revision = 0;
  readonly past: Map<string, Claim | undefined>[] = [];

  change(jobId: string, claim: Claim | undefined): void {
    this.past.push(new Map(this.claims));
    this.claims.set(jobId, claim);
  }

  end(jobId: string): void {
    this.past.push(new Map(this.claims));
    this.claims.delete(jobId);
  }
}

class Coordinator {
  readonly running = new Map<string, number>();
  readonly kept = new Set<string>();
  lease: string;
  leases = 0;
  /** Index of the past that it has heard last. */
  heard = 0;

  readonly id: string;

  constructor(id: string) {
    this.id = id;
    this.lease = `${id}/0`;
  }

  /** Its claims go with its lease, and what ran under them has paused before. */
  loseLease(truth: Truth): void {
    for (const [jobId, claim] of truth.claims) if (claim?.lease === this.lease) truth.change(jobId, undefined);
    for (const jobId of this.running.keys()) this.kept.add(jobId);
    this.running.clear();
    this.leases += 1;
    this.lease = `${this.id}/${this.leases}`;
  }

  act(truth: Truth, heard: ReadonlyMap<string, Claim | undefined>): void {
    const { running, kept, lease, id } = this;
    const actions = claimActions({ me: id, lease, open: heard, running, kept });
    for (const jobId of actions.pause) {
      running.delete(jobId);
      kept.add(jobId);
    }
    for (const jobId of actions.forget) {
      running.delete(jobId);
      kept.delete(jobId);
    }
    for (const { jobId, term } of actions.adopt) running.set(jobId, term);
    for (const { jobId, term } of actions.renew) {
      const now = truth.claims.get(jobId);
      if (now?.term === term) truth.change(jobId, { ...now, lease });
    }
    for (const jobId of actions.contend) {
      if (!truth.claims.has(jobId) || truth.claims.get(jobId) !== undefined) continue;
      truth.revision += 1;
      truth.change(jobId, { coordinator: id, lease, term: truth.revision });
    }
  }
}

const step = fc.record({
  who: fc.nat(2),
  what: fc.constantFrom('hear', 'hearOld', 'loseLease', 'end', 'begin'),
  job: fc.nat(3),
  age: fc.nat(5),
});

test('what runs under the newest term is run by one; every other run has a lower term, and is let go of when its owner hears', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const truth = new Truth();
      const coordinators = ['a', 'b', 'c'].map((id) => new Coordinator(id));
      const begun = new Set<string>();
      for (const { who, what, job, age } of steps) {
        const coordinator = coordinators[who]!;
        const jobId = `job${job}`;
        if (what === 'begin' && !begun.has(jobId)) {
          begun.add(jobId);
          truth.change(jobId, undefined);
        } else if (what === 'end') truth.end(jobId);
        else if (what === 'loseLease') coordinator.loseLease(truth);
        else if (what === 'hear') {
          coordinator.heard = truth.past.length;
          coordinator.act(truth, new Map(truth.claims));
        } else if (what === 'hearOld') {
          // What is heard may be old, and never goes back.
          coordinator.heard = Math.max(coordinator.heard, truth.past.length - age);
          coordinator.act(truth, new Map(truth.past[coordinator.heard] ?? truth.claims));
        }
        for (const [id, claim] of truth.claims) {
          const terms = coordinators.flatMap(({ running }) => running.get(id) ?? []);
          expect(terms.filter((term) => term === claim?.term).length).toBeLessThanOrEqual(1);
          expect(Math.max(0, ...terms)).toBeLessThanOrEqual(claim?.term ?? truth.revision);
        }
      }
      // When all hear everything, every job that has not ended runs once, and nothing else runs or is kept.
      for (let round = 0; round < 4; round += 1) for (const one of coordinators) one.act(truth, new Map(truth.claims));
      const runs = coordinators.flatMap(({ running }) => [...running.keys()]);
      expect(runs.sort()).toEqual([...truth.claims.keys()].sort());
      for (const { id, running, kept } of coordinators) {
        for (const [jobId, term] of running) expect(truth.claims.get(jobId)).toMatchObject({ coordinator: id, term });
        expect([...kept].filter((jobId) => !running.has(jobId))).toEqual([]);
      }
    }),
    { numRuns: 500 },
  );
});

test('who has fewer jobs contends before who has more, and nobody waits long', () => {
  const random = fc.double({ min: 0, max: 0.999, noNaN: true });
  fc.assert(
    fc.property(fc.array(fc.nat(20), { minLength: 2, maxLength: 8 }), random, random, (counts, one, other) => {
      const ids = counts.map((_, index) => `c${index}`);
      const claims = counts.flatMap((count, index) =>
        Array.from({ length: count }, () => ({ coordinator: ids[index]! })),
      );
      const delay = (index: number, chance: number): number =>
        contendDelayMs({ me: ids[index]!, coordinators: ids, claims: [...claims, undefined], random: () => chance });
      const [least, most] = [counts.indexOf(Math.min(...counts)), counts.indexOf(Math.max(...counts))];
      if (counts[least]! < counts[most]!) expect(delay(least, one)).toBeLessThan(delay(most, other));
      expect(delay(most, other)).toBeLessThan(1000);
    }),
  );
});
