/** Limits that were set, for as long as the test lasts. */
import type { LimitsStore } from '../../src/cluster/limits-store.ts';
import type { OriginLimit } from '../../src/core/origin-limits.ts';

export function memoryLimits(): LimitsStore {
  const limits = new Map<string, OriginLimit>();
  return {
    all: () => [...limits.values()],
    known: true,
    loaded: Promise.resolve(),
    async update(of, next) {
      const limit = next(limits.get(of));
      limits.set(of, limit);
      return limit;
    },
    remove: async (of) => void limits.delete(of),
    onChange: () => () => undefined,
    close: async () => undefined,
  };
}
