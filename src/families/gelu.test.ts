import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { useWorkspace } from '../../test/workspace.js'
import { openSafetensors } from '../checkpoint/safetensors.js'

const workspace = useWorkspace()

// The fixtures' weights with the activation that the published model has; logits by transformers 5.24 in float32.
it.each([
  ['gpt-neox', 'hidden_act', 'gelu_fast', [-2.26079, 2.21189, -0.78413, 0.05941]],
  ['gpt2', 'activation_function', 'gelu', [-0.69469, 1.0818, 0.13684, 0.66158]],
])('%s with %s %s has the other form of GELU', async (fixture, field, activation, expected) => {
  const source = join('test/fixtures/checkpoints', fixture)
  const folder = join(workspace.folder, fixture)
  await mkdir(folder)
  await copyFile(join(source, 'model.safetensors'), join(folder, 'model.safetensors'))
  const config = JSON.parse(await readFile(join(source, 'config.json'), 'utf8')) as Record<string, unknown>
  await writeFile(join(folder, 'config.json'), JSON.stringify({ ...config, [field]: activation }))
  const inputs = await openSafetensors(join(source, 'expected.safetensors'))
  const ids = await inputs.readIntegers('input_ids')
  await inputs.close()
  const length = ids.length / 2
  const model = await workspace.load(folder, { quantization: 'f32' })
  const { logits } = await model.trace(ids.slice(0, length))
  const last = logits.slice(-model.hyperparameters.vocabulary)
  expected.forEach((value, i) => {
    expect(last[i]).toBeCloseTo(value, 4)
  })
})
