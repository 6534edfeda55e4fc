import * as fc from 'fast-check'

// The gate says the same thing twice; SHOAL_TEST_SEED tries other examples.
fc.configureGlobal({ seed: Number(process.env.SHOAL_TEST_SEED ?? 1) })
