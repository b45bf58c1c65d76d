/** Work on the items of a sequence, several at a time, results in order. */

/** At most `limit` calls of `act` are under way; the first failure ends the sequence, and the others are waited for. */
export async function* mapOrdered<T, R>(
  items: AsyncIterable<T> | Iterable<T>,
  limit: number,
  act: (item: T) => Promise<R>,
): AsyncGenerator<R> {
  const underWay: Promise<R>[] = [];
  try {
    for await (const item of items) {
      const result = act(item);
      // A failure is met when its turn comes; until then it is not an unhandled one.
      result.catch(() => undefined);
      underWay.push(result);
      if (underWay.length >= limit) yield await underWay.shift()!;
    }
    while (underWay.length > 0) yield await underWay.shift()!;
  } finally {
    await Promise.allSettled(underWay);
  }
}
