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
/** A timer, or an answer, is late at times: so many points that nobody gave are as the one before them. More are a gap. */
const bridgedFine = 3;
const bridgedCoarse = 1;

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
  readonly #fine = new Ring({ stepMs: fineStepMs, points: finePoints, bridged: bridgedFine });
  readonly #coarse = new Ring({ stepMs: coarseStepMs, points: coarsePoints, bridged: bridgedCoarse });
  /** Of the ten seconds that go on. */
  #sum = 0;
  #count = 0;
  #lastMs = Number.NEGATIVE_INFINITY;
  #last: number | undefined;
  /** When it was above zero last. */
  #movedMs: number | undefined;
  /** Since when it is known. */
  #sinceMs: number | undefined;

  /** As `record` said it, `nowMs` being when that came. */
  static of(record: RateRecord, nowMs: number): RateHistory {
    const history = new RateHistory();
    history.merge(record, nowMs);
    return history;
  }

  /** What somebody else knows, as `record` said it, into what is known here: where nothing was said, what was here stays. */
  merge({ fine, coarse }: RateRecord, nowMs: number): void {
    const lastPlace = this.#coarse.fill(coarse, nowMs);
    this.#fine.fill(fine, nowMs);
    const newest = fine.values.length > 0 ? fine : coarse;
    const last = newest.values.at(-1);
    const lastMs = nowMs - newest.agoMs;
    if (typeof last === 'number' && lastMs >= this.#lastMs) [this.#last, this.#lastMs] = [last, lastMs];
    const going = coarse.values.at(-1);
    if (typeof going === 'number' && this.#coarse.newest === lastPlace) {
      // It is the mean of as many seconds as have passed of its ten, whatever was added here of them.
      const seconds = Math.max(1, Math.round(Math.min(coarse.agoMs, coarseStepMs) / fineStepMs));
      [this.#sum, this.#count] = [going * seconds, seconds];
    }
    this.#heard(coarse, nowMs);
  }

  /** Since when it is known and when it moved last, to ten seconds. */
  #heard({ agoMs, values }: RatePoints, nowMs: number): void {
    if (values.length === 0) return;
    const endMs = nowMs - agoMs;
    this.#sinceMs = Math.min(this.#sinceMs ?? nowMs, endMs - (values.length - 1) * coarseStepMs);
    const steps = values.toReversed().findIndex((value) => value !== null && value > 0);
    if (steps >= 0) this.#movedMs = Math.max(this.#movedMs ?? 0, Math.min(nowMs, endMs - (steps - 1) * coarseStepMs));
  }

  /** What the rate is now. Earlier than what was said last: passed over. */
  add(nowMs: number, value: number): void {
    if (!(nowMs >= this.#lastMs && value >= 0)) return;
    [this.#last, this.#lastMs] = [value, nowMs];
    this.#sinceMs ??= nowMs;
    if (value > 0) this.#movedMs = nowMs;
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
    const sinceMs = this.#movedMs ?? this.#sinceMs;
    return this.#last === 0 && sinceMs !== undefined ? Math.max(0, nowMs - sinceMs) : undefined;
  }

  /** Stretches without a gap, oldest first, of the last `spanMs`: of up to ten minutes in seconds, as far as these reach back. */
  stretches(nowMs: number, spanMs: number): readonly (readonly RatePoint[])[] {
    const coarse = this.#coarse.stretches(nowMs, spanMs);
    if (spanMs > finePoints * fineStepMs) return coarse;
    const [first, ...rest] = this.#fine.stretches(nowMs, spanMs);
    if (first === undefined) return coarse;
    // Behind a restart, and of what was sketched, there are ten seconds alone of the time before.
    const { agoMs: fineAgoMs } = first[0]!;
    const before = coarse
      .map((points) => points.filter(({ agoMs }) => agoMs - coarseStepMs >= fineAgoMs))
      .filter((points) => points.length > 0);
    const last = before.at(-1);
    const joins = last !== undefined && last.at(-1)!.agoMs - 2 * coarseStepMs < fineAgoMs;
    return joins ? [...before.slice(0, -1), [...last, ...first], ...rest] : [...before, first, ...rest];
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
    return { fine: nothing, coarse: this.means(nowMs, (finePoints * fineStepMs) / coarseStepMs) };
  }

  /** The last so many points of ten seconds. */
  means(nowMs: number, most: number): RatePoints {
    return this.#coarse.points(nowMs, most);
  }
}

class Ring {
  readonly #stepMs: number;
  readonly #bridged: number;
  readonly #values: Float32Array;
  /** Which step the newest point is of; -1: there is none. */
  newest = -1;

  constructor({ stepMs, points, bridged }: { stepMs: number; points: number; bridged: number }) {
    this.#stepMs = stepMs;
    this.#bridged = bridged;
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
      this.#values[step % size] = between <= this.#bridged ? before : Number.NaN;
    this.#values[place % size] = value;
    this.newest = place;
  }

  /** In place of what it has, where that is known. Returns which step the last of them is of; undefined: there are none. */
  fill({ agoMs, values }: RatePoints, nowMs: number): number | undefined {
    if (values.length === 0) return undefined;
    const size = this.#values.length;
    const last = Math.min(this.placeOf(nowMs), Math.max(0, Math.round((nowMs - agoMs) / this.#stepMs)));
    for (let step = Math.max(this.newest + 1, last - size + 1); step <= last; step += 1)
      this.#values[step % size] = Number.NaN;
    this.newest = Math.max(this.newest, last);
    for (const [at, value] of values.entries()) {
      const place = last - (values.length - 1 - at);
      if (value !== null && place >= 0 && place > this.newest - size) this.#values[place % size] = value;
    }
    return last;
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

  #at(place: number): number {
    const size = this.#values.length;
    return place < 0 || place > this.newest || place <= this.newest - size ? Number.NaN : this.#values[place % size]!;
  }
}
