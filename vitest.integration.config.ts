import { defineConfig } from 'vitest/config';

// The tests against real parts (radosgw, nginx, promtool, aws-cli): .ci/run installs those first.
export default defineConfig({
  define: { PRIMED_VERSION: JSON.stringify('test') },
  test: {
    include: ['test/integration/**/*.test.ts'],
    testTimeout: 300_000,
    hookTimeout: 300_000,
    pool: 'forks',
    fileParallelism: false,
  },
});
