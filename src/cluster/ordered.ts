/** Work on the items of a sequence, several at a time, results in order. */

/**
 * At most `limit` calls of `act` are under way. A result is given as soon as it is there, whether or not the next item is. The
 * first failure, of an item or of the sequence, ends it, and the others are waited for.
 */
export async function* mapOrdered<T, R>(
  items: AsyncIterable<T> | Iterable<T>,
  limit: number,
  act: (item: T) => Promise<R>,
): AsyncGenerator<R> {
  const source = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
  const underWay: Promise<R>[] = [];
  let coming: Promise<IteratorResult<T>> | undefined;
  let ended = false;
  try {
    for (;;) {
      if (!ended && underWay.length < limit) coming ??= Promise.resolve(source.next());
      const [first] = underWay;
      if (coming === undefined && first === undefined) return;
      const item = await Promise.race([
        ...(first === undefined ? [] : [first.then(() => undefined)]),
        ...(coming === undefined ? [] : [coming]),
      ]);
      if (item === undefined) {
        yield await underWay.shift()!;
        continue;
      }
      coming = undefined;
      if (item.done === true) {
        ended = true;
        continue;
      }
      const result = act(item.value);
      // A failure is met when its turn comes; until then it is not an unhandled one.
      result.catch(() => undefined);
      underWay.push(result);
    }
  } finally {
    coming?.catch(() => undefined);
    if (!ended) Promise.resolve(source.return?.()).catch(() => undefined);
    await Promise.allSettled(underWay);
  }
}
