import { defineConfig } from 'vitest/config';

export default defineConfig({
  define: { PRIMED_VERSION: JSON.stringify('test') },
  test: {
    include: ['test/{unit,property,model,sim,fault,e2e}/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // How long a condition is waited for; vitest's own second is not enough where the machine has other work.
    expect: { poll: { timeout: 15_000 } },
    pool: 'forks',
    maxWorkers: 2,
    fileParallelism: true,
  },
});
