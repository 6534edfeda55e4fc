import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'

// The gate says the same thing twice; SHOAL_TEST_SEED tries other examples.
fc.configureGlobal({ seed: Number(process.env.SHOAL_TEST_SEED ?? 1) })

// No test asks the Hub or touches what the user keeps of it; those of src/hub bring a server of their own.
process.env.HF_HUB_OFFLINE = '1'
process.env.HF_HOME = join(tmpdir(), 'shoal-no-hub')
for (const name of ['HF_TOKEN', 'HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE', 'HF_ENDPOINT']) delete process.env[name]
