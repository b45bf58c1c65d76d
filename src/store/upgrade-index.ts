/** The index of an earlier release, brought to today's format before it is opened. */
import type { Database, RootDatabase } from 'lmdb';
import { indexFormat, indexTables } from './index-db.ts';
import { indexSteps } from './index-steps.ts';
import { type UpgradeWatch, upgradeDatabase } from './upgrade.ts';

const formatKey = Buffer.from('format');

function metaOf(root: RootDatabase): Database<Buffer, Uint8Array> | undefined {
  return root.openDB('meta', { encoding: 'binary', keyEncoding: 'binary' });
}

/** The caller has the lock of the folder. Throws as `upgradeDatabase` does. */
export function upgradeIndex(dir: string, watch: UpgradeWatch): Promise<void> {
  return upgradeDatabase(
    {
      ...{ dir, kind: 'index', format: indexFormat, steps: indexSteps },
      tables: indexTables.map((name) => ({ name, encoding: 'binary', binaryKeys: true })),
      putFormat: async (root) => metaOf(root)?.put(formatKey, Buffer.from(JSON.stringify(indexFormat))),
      formatOf: (root) => {
        const format = metaOf(root)?.get(formatKey);
        return format === undefined ? undefined : (JSON.parse(format.toString()) as number);
      },
    },
    watch,
  );
}
