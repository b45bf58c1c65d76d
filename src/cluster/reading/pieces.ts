/** From whom a piece of a file is read first, and how it is read here. */
import { PrimedError } from '../../core/errors.ts';
import type { HeldFile, Holding, Piece } from '../../core/holdings.ts';
import { here, type LocalFiles } from './located.ts';
import { type Repairs, readRepaired } from './repair.ts';

/** This worker first, those that do not answer of late last, the others in turn, so that replicas share their readers. */
export function inOrder(
  holdings: readonly Holding[],
  turn: number,
  isAvoided: (holder: string) => boolean,
): readonly Holding[] {
  const first = Math.floor(turn * holdings.length);
  const turned = [...holdings.slice(first), ...holdings.slice(0, first)];
  const rank = ({ holder }: Holding): number => (holder === here ? 0 : isAvoided(holder) ? 2 : 1);
  return turned.sort((a, b) => rank(a) - rank(b));
}

export async function* readPiece(
  store: LocalFiles,
  file: HeldFile,
  piece: Piece,
  repairs: Pick<Repairs, 'repair'> | undefined,
): AsyncGenerator<Uint8Array> {
  // Opened by its first reader: who never reads it has nothing to close.
  const opened = store.openVersion(file, piece);
  if (opened === undefined) throw new PrimedError('FILE_NOT_CACHED', `${file.path}: a part of it is gone from here`);
  try {
    yield* readRepaired(opened, piece, repairs);
  } finally {
    opened.close();
  }
}

export function counted(body: AsyncIterable<Uint8Array>, count: (bytes: number) => void): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const pieces = body[Symbol.asyncIterator]();
      return {
        async next() {
          const result = await pieces.next();
          if (result.done !== true) count(result.value.length);
          return result;
        },
        return: async () => (await pieces.return?.()) ?? { done: true, value: undefined },
      };
    },
  };
}
