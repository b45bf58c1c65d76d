/** Of a worker to whose files nothing has happened. */
import type { FileHistory } from '../../src/core/file-events.ts';

export const noHistory: FileHistory = {
  ...{ events: [], dropped: 0, keptSinceMs: 0, gaps: [] },
  bounds: { ageMs: 7 * 86_400_000, perFile: 20, bytes: 1 },
};
