import { afterEach, expect, it, vi } from 'vitest'
import type { UnsupportedError } from '../../errors.js'

afterEach(() => {
  vi.doUnmock('@resvg/resvg-js')
  vi.resetModules()
})

it('says what to install where the renderer is missing', async () => {
  vi.doMock('@resvg/resvg-js', () => {
    throw new Error("Cannot find package '@resvg/resvg-js'")
  })
  const { loadPngRenderer } = await import('./png.js')
  await expect(loadPngRenderer()).rejects.toThrow(/npm install @resvg\/resvg-js/)
})

it('says what to install where no font is', async () => {
  vi.doMock('@resvg/resvg-js', () => ({
    Resvg: class {
      innerBBox() {}
    },
  }))
  const { loadPngRenderer } = await import('./png.js')
  const failure = await loadPngRenderer().catch((error: unknown) => error)
  expect((failure as UnsupportedError).name).toBe('UnsupportedError')
  expect((failure as UnsupportedError).message).toContain('this machine has none')
})
