/** Where the demo puts its data: on a disk, not in memory, and with room. */
import { access, constants, mkdtemp, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PrimedError } from '../core/errors.ts';
import { humanBytes } from './human.ts';

/** Magic numbers of tmpfs and ramfs in linux/magic.h. */
const memoryFileSystems = new Set([0x01021994, 0x858458f6]);

export interface FolderFacts {
  readonly path: string;
  readonly freeBytes: number;
  readonly inMemory: boolean;
}

/**
 * A fresh folder with at least `neededBytes` of room: below `parent` if that is given, else below the first of
 * os.tmpdir(), /var/tmp and the current folder that lies on a disk. Rejects with STORE_NO_ROOM.
 */
export async function makeDemoFolder(neededBytes: number, parent?: string): Promise<string> {
  const candidates = parent === undefined ? [tmpdir(), '/var/tmp', process.cwd()] : [parent];
  const facts = (await Promise.all(candidates.map(factsOf))).filter((one) => one !== undefined);
  const chosen = chooseFolder(facts, neededBytes, parent !== undefined);
  if (chosen !== undefined) return mkdtemp(join(chosen, 'primed-demo-'));
  const seen = facts.map(({ path, freeBytes, inMemory }) =>
    inMemory && parent === undefined ? `${path} (in memory)` : `${path} (${humanBytes(freeBytes)} free)`,
  );
  throw new PrimedError(
    'STORE_NO_ROOM',
    `The demo needs ${humanBytes(neededBytes)} on a disk, and found ${seen.join(', ') || `no folder it may write to in ${candidates.join(', ')}`}. Name another folder with --data, or a smaller --size.`,
    { neededBytes },
  );
}

/** The first with room; folders in memory only where the user named one. */
export function chooseFolder(
  facts: readonly FolderFacts[],
  neededBytes: number,
  namedByUser: boolean,
): string | undefined {
  return facts.find(({ freeBytes, inMemory }) => freeBytes >= neededBytes && (namedByUser || !inMemory))?.path;
}

async function factsOf(path: string): Promise<FolderFacts | undefined> {
  try {
    await access(`${path}/`, constants.W_OK | constants.X_OK); // the slash: a folder
    const { type, bavail, bsize } = await statfs(path);
    return { path, freeBytes: bavail * bsize, inMemory: memoryFileSystems.has(type) };
  } catch {
    return undefined;
  }
}
