/** The job store of an earlier release, brought to today's format before it is opened. */
import type { Database, RootDatabase } from 'lmdb';
import { type UpgradeWatch, upgradeDatabase } from '../store/upgrade.ts';
import { jobStoreFormat } from './job-store.ts';
import { jobStoreSteps } from './job-store-steps.ts';

function metaOf(root: RootDatabase): Database<number, string> | undefined {
  return root.openDB({ name: 'meta', encoding: 'msgpack' });
}

/** Throws as `upgradeDatabase` does. */
export function upgradeJobStore(dir: string, watch: UpgradeWatch): Promise<void> {
  return upgradeDatabase(
    {
      ...{ dir, kind: 'jobs', format: jobStoreFormat, steps: jobStoreSteps },
      tables: [
        { name: 'jobs', encoding: 'msgpack' },
        { name: 'chunks', encoding: 'binary' },
        { name: 'done', encoding: 'msgpack' },
        { name: 'seen', encoding: 'binary' },
        { name: 'meta', encoding: 'msgpack' },
      ],
      putFormat: async (root) => metaOf(root)?.put('format', jobStoreFormat),
      // Those before 3 say nothing.
      formatOf: (root) => {
        const format = metaOf(root)?.get('format');
        if (format !== undefined) return format;
        const jobs: Database | undefined = root.openDB({ name: 'jobs', encoding: 'msgpack' });
        return jobs !== undefined && jobs.getKeysCount({ limit: 1 }) > 0 ? 1 : undefined;
      },
    },
    watch,
  );
}
