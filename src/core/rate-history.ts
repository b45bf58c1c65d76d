/**
 * What a rate was, in memory that never grows: a point a second for the last minutes, and one each ten seconds for hours.
 *
 *   fine    │ 1 s │ 1 s │ … │                    600 points: 10 minutes
 *   coarse  │ mean of 10 s │ mean of 10 s │ … │  2,160 points: 6 hours
 *
 * A ring is written where its time says, so that adding costs the same whatever is kept. Clocks are passed in, and only go
 * forward; over the wire ages are sent, not times, so that both ends may have clocks of their own. Pure.
 */

export const fineStepMs = 1_000;
export const finePoints = 600;
export const coarseStepMs = 10_000;
export const coarsePoints = 2_160;
/** A timer is late at times: so many points that nobody gave are as the one before them. More are a gap. */
const bridged = 3;

/** Points of one step, oldest first; null: nobody knows. The last one ends `agoMs` before it is sent. */
export interface RatePoints {
  readonly agoMs: number;
  readonly values: readonly (number | null)[];
}

export interface RateRecord {
  readonly fine: RatePoints;
  readonly coarse: RatePoints;
}

export interface RatePoint {
  readonly agoMs: number;
  readonly value: number;
}

const nothing: RatePoints = { agoMs: 0, values: [] };

export class RateHistory {
  readonly #fine = new Ring(fineStepMs, finePoints);
  readonly #coarse = new Ring(coarseStepMs, coarsePoints);
  /** Of the ten seconds that go on. */
  #sum = 0;
  #count = 0;
  #lastMs = Number.NEGATIVE_INFINITY;
  #last: number | undefined;
  /** When it was above zero last; of one that never was, since when it is known. */
  #movedMs: number | undefined;

  /** As `record` said it, `nowMs` being when that came. */
  static of({ fine, coarse }: RateRecord, nowMs: number): RateHistory {
    const history = new RateHistory();
    history.#coarse.fill(coarse, nowMs);
    history.#fine.fill(fine, nowMs);
    const of = fine.values.length > 0 ? fine : coarse;
    const last = of.values.at(-1);
    if (typeof last === 'number') [history.#last, history.#lastMs] = [last, nowMs - of.agoMs];
    const back = coarse.values.toReversed();
    const moved = back.findIndex((value) => value !== null && value > 0);
    const steps = moved < 0 ? back.length - 1 : moved;
    if (steps >= 0)
      history.#movedMs = Math.min(nowMs, nowMs - coarse.agoMs - (steps - (moved < 0 ? 0 : 1)) * coarseStepMs);
    const going = coarse.values.at(-1);
    if (typeof going === 'number') [history.#sum, history.#count] = [going, 1];
    return history;
  }

  /** What the rate is now. Earlier than what was said last: passed over. */
  add(nowMs: number, value: number): void {
    if (!(nowMs >= this.#lastMs && value >= 0)) return;
    [this.#last, this.#lastMs] = [value, nowMs];
    if (value > 0 || this.#movedMs === undefined) this.#movedMs = nowMs;
    const begins = this.#coarse.newest !== this.#coarse.placeOf(nowMs);
    [this.#sum, this.#count] = begins ? [value, 1] : [this.#sum + value, this.#count + 1];
    this.#fine.put(nowMs, value);
    this.#coarse.put(nowMs, this.#sum / this.#count);
  }

  get last(): number | undefined {
    return this.#last;
  }

  /** When something was said last; -Infinity: never. */
  get lastMs(): number {
    return this.#lastMs;
  }

  /** For how long it has been zero; of what was heard as a record to ten seconds. Undefined: it is not, or nobody knows. */
  stillMs(nowMs: number): number | undefined {
    return this.#last === 0 && this.#movedMs !== undefined ? Math.max(0, nowMs - this.#movedMs) : undefined;
  }

  /** Stretches without a gap, oldest first, of the last `spanMs`: of seconds where they reach so far. */
  stretches(nowMs: number, spanMs: number): readonly (readonly RatePoint[])[] {
    return this.#ringFor(nowMs, spanMs).stretches(nowMs, spanMs);
  }

  largest(nowMs: number, spanMs: number): number {
    let most = 0;
    for (const stretch of this.stretches(nowMs, spanMs)) for (const { value } of stretch) most = Math.max(most, value);
    return most;
  }

  record(nowMs: number): RateRecord {
    return { fine: this.#fine.points(nowMs), coarse: this.#coarse.points(nowMs) };
  }

  /** Short, for a small curve: the last ten minutes in steps of ten seconds. */
  sketch(nowMs: number): RateRecord {
    return { fine: nothing, coarse: this.#coarse.points(nowMs, (finePoints * fineStepMs) / coarseStepMs) };
  }

  #ringFor(nowMs: number, spanMs: number): Ring {
    // What was sketched has ten seconds alone of the time before.
    const whole =
      this.#fine.begins < this.#coarse.begins + 2 * coarseStepMs || this.#fine.begins <= nowMs - spanMs + coarseStepMs;
    return spanMs <= finePoints * fineStepMs && whole ? this.#fine : this.#coarse;
  }
}

class Ring {
  readonly #stepMs: number;
  readonly #values: Float32Array;
  /** Which step the newest point is of; -1: there is none. */
  newest = -1;

  constructor(stepMs: number, points: number) {
    this.#stepMs = stepMs;
    this.#values = new Float32Array(points).fill(Number.NaN);
  }

  placeOf(atMs: number): number {
    return Math.floor(atMs / this.#stepMs);
  }

  put(atMs: number, value: number): void {
    const place = this.placeOf(atMs);
    const size = this.#values.length;
    const before = this.#at(this.newest);
    const between = this.newest < 0 ? 0 : place - this.newest - 1;
    for (let step = Math.max(this.newest + 1, place - size + 1); step < place; step += 1)
      this.#values[step % size] = between <= bridged ? before : Number.NaN;
    this.#values[place % size] = value;
    this.newest = place;
  }

  /** In place of what it has. */
  fill({ agoMs, values }: RatePoints, nowMs: number): void {
    const most = values.slice(-this.#values.length);
    const newest = Math.min(this.placeOf(nowMs), Math.max(0, Math.round((nowMs - agoMs) / this.#stepMs)));
    for (const [back, value] of most.toReversed().entries()) {
      const place = newest - back;
      if (place >= 0) this.#values[place % this.#values.length] = value ?? Number.NaN;
    }
    if (most.length > 0) this.newest = newest;
  }

  points(nowMs: number, most = this.#values.length): RatePoints {
    const values: (number | null)[] = [];
    const oldest = Math.max(0, this.placeOf(nowMs) - most + 1);
    for (let place = oldest; place <= this.newest; place += 1) {
      const value = this.#at(place);
      if (Number.isNaN(value)) {
        // Nothing is sent of the time before there was something.
        if (values.length > 0) values.push(null);
      } else values.push(Math.round(value));
    }
    return values.length === 0
      ? nothing
      : { agoMs: Math.max(0, Math.round(nowMs - this.newest * this.#stepMs)), values };
  }

  stretches(nowMs: number, spanMs: number): RatePoint[][] {
    const stretches: RatePoint[][] = [];
    let open: RatePoint[] | undefined;
    const oldest = Math.max(0, this.newest - this.#values.length + 1, this.placeOf(nowMs - spanMs) + 1);
    for (let place = oldest; place <= this.newest; place += 1) {
      const value = this.#at(place);
      if (Number.isNaN(value)) open = undefined;
      else {
        if (open === undefined) {
          open = [];
          stretches.push(open);
        }
        open.push({ agoMs: Math.max(0, nowMs - place * this.#stepMs), value });
      }
    }
    return stretches;
  }

  /** When the oldest point is of that is known. */
  get begins(): number {
    const oldest = Math.max(0, this.newest - this.#values.length + 1);
    for (let place = oldest; place <= this.newest; place += 1)
      if (!Number.isNaN(this.#at(place))) return place * this.#stepMs;
    return Number.POSITIVE_INFINITY;
  }

  #at(place: number): number {
    const size = this.#values.length;
    return place < 0 || place > this.newest || place <= this.newest - size ? Number.NaN : this.#values[place % size]!;
  }
}
