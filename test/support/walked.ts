/** The index of a store that nobody has open, walked from end to end. */
import { IndexDb } from '../../src/store/index-db.ts';
import { type OnWalked, type WalkResult, walkIndex } from '../../src/store/index-walk.ts';

export async function walked(indexDir: string, onWalked?: OnWalked): Promise<WalkResult> {
  const index = new IndexDb(indexDir, { readOnly: true });
  try {
    return await walkIndex(index, onWalked);
  } finally {
    await index.close();
  }
}

/** Throws where anything is wrong. */
export async function expectSound(indexDir: string): Promise<void> {
  const { found } = await walked(indexDir);
  if (found.size > 0) throw new Error(`the index is not sound: ${JSON.stringify([...found])}`);
}
