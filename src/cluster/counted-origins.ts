/** Origins that count what is asked of them. */
import { PrimedError } from '../core/errors.ts';
import type { RequestKind } from '../core/price.ts';
import type { Origins } from '../origin/types.ts';

export type CountRequests = (path: string, kind: RequestKind, count: number, bytes: number) => void;

export function countedOrigins(origins: Origins, count: CountRequests): Origins {
  return {
    resolve: (path) => origins.resolve(path),
    laneOrigin: (path) => origins.laneOrigin(path),
    credentials: (originIndex) => origins.credentials(originIndex),
    async head(path, signal) {
      count(path, 'head', 1, 0);
      try {
        return await origins.head(path, signal);
      } catch (error) {
        if (path.startsWith('s3://') && isRefusal(error)) count(path, 'rangedGet', 1, 0);
        throw error;
      }
    },
    list(prefix, options) {
      count(prefix, 'list', 1, 0);
      return origins.list(prefix, options);
    },
    async *read(path, signal) {
      count(path, 'wholeGet', 1, 0);
      for await (const bytes of origins.read(path, signal)) {
        count(path, 'wholeGet', 0, bytes.length);
        yield bytes;
      }
    },
    close: () => origins.close(),
  };
}

/** A HEAD that S3 refuses has no body: the origin's client asks for one byte, to hear why. */
function isRefusal(error: unknown): boolean {
  return error instanceof PrimedError && refusals.has(error.code);
}

const refusals: ReadonlySet<string> = new Set(['ORIGIN_NOT_FOUND', 'ORIGIN_DENIED', 'ORIGIN_REJECTED']);
