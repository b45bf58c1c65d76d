/**
 * How a limit on an origin is divided among those who want something of it.
 *
 * Each has a floor; the rest goes to the demands from the least to the largest, as far as it goes, so that who wants little
 * gets it and the others share alike (max-min); what is left over when all have what they want is spread as room to grow. So
 * the sum is the limit, whoever wants something gets something, and what one does not use the others have.
 */

/** A tenth of the limit is spread evenly, whatever the demands are. */
const floorShare = 0.1;
/** Against sums that are above the limit in the last digit. */
const safety = 1 - 1e-12;

/** @param demands of those who want something; Infinity: more than they got. In the order of the answer. */
export function divide(limit: number, demands: readonly number[]): number[] {
  const count = demands.length;
  if (count === 0) return [];
  const floor = (limit * floorShare) / count;
  const shares = demands.map(() => floor);
  let left = limit - floor * count;
  const order = demands.map((_, at) => at).sort((a, b) => demands[a]! - demands[b]!);
  order.forEach((at, done) => {
    const more = Math.min(Math.max(0, demands[at]! - floor), left / (count - done));
    shares[at]! += more;
    left -= more;
  });
  return shares.map((share) => (share + left / count) * safety);
}
