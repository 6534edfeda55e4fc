import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    // Each file loads ggml and uses every core; more processes than this only wait for each other.
    maxWorkers: 2,
    setupFiles: ['test/setup.ts'],
    testTimeout: 180_000,
    hookTimeout: 60_000,
    pool: 'forks',
    // A model's own thread or process begins in a file of `src`, which Node does not read by itself.
    execArgv: ['--import', new URL('test/typescript-loader.mjs', import.meta.url).href],
  },
})
