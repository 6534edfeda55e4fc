import { expect, it } from 'vitest'
import { FLOAT8, float8Table, float8ToFloat32Array } from './float8.js'
import { openSafetensors } from './safetensors.js'

it.each(FLOAT8)("%s: torch's 256 values, as a table and from a file", async (type) => {
  const file = await openSafetensors('test/fixtures/prequantized/float8.safetensors')
  const expected = await file.readFloats(`${type}.expected`)
  expect(float8Table(type)).toEqual(expected)
  expect(await file.readFloats(type)).toEqual(expected)
  expect(await file.readFloats(type, { start: 100, count: 30 })).toEqual(expected.subarray(100, 130))
  const bits = Uint8Array.of(1, 0x80, 0x7e)
  expect(float8ToFloat32Array(type, bits, new Float32Array(3))).toEqual(Float32Array.from(bits, (i) => expected[i]!))
  await file.close()
})
