import { defineConfig } from 'vitest/config';

// The tests against real parts (radosgw, nginx, promtool, aws-cli): .ci/run installs those first.
export default defineConfig({
  define: { PRIMED_VERSION: JSON.stringify('test') },
  test: {
    include: ['test/integration/**/*.test.ts'],
    testTimeout: 300_000,
    hookTimeout: 300_000,
    // How long a condition is waited for; vitest's own second is not enough where the machine has other work.
    expect: { poll: { timeout: 15_000 } },
    pool: 'forks',
    // These wait more than they work: for leases to end, and for what stands still or is cut off. Two at a time keep two cores
    // a little more than half busy.
    maxWorkers: 2,
    fileParallelism: true,
  },
});
