/** Limits that were set, or pins, for as long as the test lasts. */
import type { SetStore } from '../../src/cluster/limits-store.ts';
import type { OriginLimit } from '../../src/core/origin-limits.ts';

export function memoryLimits<T = OriginLimit>(): SetStore<T> {
  const rows = new Map<string, T>();
  let version = 0;
  return {
    all: () => [...rows.values()],
    known: true,
    get version() {
      return version;
    },
    loaded: Promise.resolve(),
    async update(of, next) {
      const row = next(rows.get(of));
      rows.set(of, row);
      version += 1;
      return row;
    },
    async remove(of) {
      rows.delete(of);
      version += 1;
    },
    onChange: () => () => undefined,
    close: async () => undefined,
  };
}
