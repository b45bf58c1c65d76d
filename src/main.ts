#!/usr/bin/env node
import { parseArgs } from 'node:util';
import { loadConfig } from './config/load.ts';
import { PrimedError } from './core/errors.ts';

const [verb, ...rest] = process.argv.slice(2);
try {
  if (verb === 'standalone') {
    const s = { type: 'string' } as const;
    const { values } = parseArgs({
      args: rest,
      options: { config: s, data: s, 'store-size': s, api: s, http: s, s3: s },
    });
    const { 'store-size': storeSize, ...flags } = values;
    const { runStandalone } = await import('./daemon.ts');
    process.exitCode = await runStandalone(
      loadConfig({ role: 'standalone', flags: { ...flags, ...(storeSize ? { storeSize } : {}) }, env: process.env }),
    );
  }
} catch (error) {
  if (!(error instanceof PrimedError)) throw error;
  console.error(error.message);
  process.exitCode = 78;
}
