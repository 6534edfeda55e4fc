import { describe, expect, it } from 'vitest'
import { UnsupportedError } from '../errors.js'
import { chooseFiles, type Need } from './choose-files.js'
import type { HubId } from './hub-id.js'

const repo = 'org/name'

function choose(paths: readonly string[], id: Partial<HubId> = {}, need: Need = 'all') {
  return chooseFiles(
    { repo, ...id },
    paths.map((path) => ({ path, size: 1 })),
    need,
  )
}

const FOLDER = ['config.json', 'tokenizer.json', 'merges.txt', 'README.md', 'model.safetensors']

describe('a folder', () => {
  it('is what Shoal reads of it, and nothing else', () => {
    const noise = [
      'onnx/model.onnx',
      'original/consolidated.00.pth',
      'consolidated.safetensors',
      'pytorch_model.bin',
      'model-q4_k_m.gguf',
      'tf_model.h5',
      'sub/config.json',
    ]
    const { files, ...rest } = choose([...FOLDER, ...noise])
    expect(rest).toEqual({ gguf: null, index: null })
    expect([...files].sort()).toEqual([...FOLDER].sort())
    expect(choose(FOLDER, {}, 'config').files).toEqual(['config.json'])
    expect(choose(FOLDER, {}, 'tokenizer').files).toEqual(['config.json', 'tokenizer.json', 'merges.txt'])
  })

  it('of shards is found by its index', () => {
    const index = 'model.safetensors.index.json'
    const paths = ['config.json', index, 'model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']
    expect(choose(paths)).toEqual({ gguf: null, files: ['config.json', index], index })
  })

  it('is refused where a file that is read whole is as large as weights are', () => {
    const index = 'model.safetensors.index.json'
    for (const [need, large] of [
      ['config', 'config.json'],
      ['tokenizer', 'tokenizer.json'],
      ['all', index],
    ] as const) {
      const listed = ['config.json', 'tokenizer.json', index].map((path) => ({ path, size: path === large ? 2e9 : 9 }))
      expect(() => chooseFiles({ repo }, listed, need)).toThrow(`its ${large} is too large to be read`)
    }
  })

  it('comes without a model card that is a book', () => {
    const listed = FOLDER.map((path) => ({ path, size: path === 'README.md' ? 2_000_000 : 1 }))
    expect(chooseFiles({ repo }, listed).files).not.toContain('README.md')
  })
})

describe('a GGUF file', () => {
  const many = ['x-Q2_K.gguf', 'x-Q8_0.gguf', 'x-q4_k_m.gguf', 'x-Q4_K_S.gguf', 'x-IQ4_XS.gguf', 'x.F16.gguf']

  it('is Q4_K_M, else Q8_0, else the first', () => {
    expect(choose(many).gguf).toBe('x-q4_k_m.gguf')
    expect(choose(['x-Q8_0.gguf', 'x-Q2_K.gguf']).gguf).toBe('x-Q8_0.gguf')
    expect(choose(['b-Q5_0.gguf', 'a-Q2_K.gguf']).gguf).toBe('a-Q2_K.gguf')
  })

  it('is found by its tag in any case, by the end of its name first', () => {
    expect(choose(many, { tag: 'q2_k' }).gguf).toBe('x-Q2_K.gguf')
    expect(choose(many, { tag: 'f16' }).gguf).toBe('x.F16.gguf')
    expect(choose([...many, 'x-Q4_K_M-imat.gguf'], { tag: 'Q4_K_M' }).gguf).toBe('x-q4_k_m.gguf')
    expect(choose(['x-Q6_K-imat.gguf'], { tag: 'q6_k' }).gguf).toBe('x-Q6_K-imat.gguf')
    expect(choose(['Q8_0/x.gguf', 'Q4_0/x-Q4_0.gguf'], { tag: 'Q4_0' }).gguf).toBe('Q4_0/x-Q4_0.gguf')
    expect(choose([...FOLDER, 'x-Q4_0.gguf'], { tag: 'Q4_0' }).gguf).toBe('x-Q4_0.gguf')
    expect(() => choose(many, { tag: 'Q3_K' })).toThrow(/^org\/name: no GGUF file is Q3_K; there are x-IQ4_XS\.gguf, /)
    expect(() => choose(['a-Q4_0.gguf', 'b-Q4_0.gguf'], { tag: 'Q4_0' })).toThrow(
      'org/name: several files are Q4_0: a-Q4_0.gguf, b-Q4_0.gguf; name one of them: org/name/a-Q4_0.gguf',
    )
    expect(() => choose(FOLDER, { tag: 'Q4_0' })).toThrow(/has no GGUF files; org\/name without :Q4_0 is a folder/)
    expect(() => choose(many, { tag: '.' })).toThrow(/no GGUF file is \./)
  })

  it('is no file that only comes beside a model', () => {
    const beside = ['mmproj-x-Q4_K_M.gguf', 'imatrix.gguf', 'mtp-x-Q8_0.gguf', 'eagle3-x.gguf']
    expect(choose([...beside, 'x-Q5_0.gguf']).gguf).toBe('x-Q5_0.gguf')
  })

  it('that is split brings its parts', () => {
    const parts = ['x-Q8_0-00001-of-00003.gguf', 'x-Q8_0-00002-of-00003.gguf', 'x-Q8_0-00003-of-00003.gguf']
    for (const id of [{}, { tag: 'Q8_0' }, { file: parts[1]! }]) {
      expect(choose(parts, id)).toEqual({ gguf: parts[0], files: parts, index: null })
    }
    expect(() => choose(parts.slice(0, 2))).toThrow(/has no x-Q8_0-00003-of-00003\.gguf, a part of/)
  })

  it('may be named', () => {
    expect(choose(many, { file: 'x.F16.gguf' }).files).toEqual(['x.F16.gguf'])
    expect(() => choose(many, { file: 'y.gguf' })).toThrow(/has no file y\.gguf; there are x-IQ4_XS\.gguf/)
  })
})

it('says what there is where nothing can be used', () => {
  expect(() => choose(['config.json', 'pytorch_model.bin'])).toThrow(UnsupportedError)
  expect(() => choose(['config.json', 'pytorch_model.bin'])).toThrow(
    /^org\/name: Shoal reads safetensors and GGUF, and it has pytorch_model\.bin; perhaps .* refs\/pr\/N/,
  )
  expect(() => choose(['config.json', 'tokenizer.model'])).toThrow(/it has tokenizer\.model$/)
  expect(() => choose(['model.safetensors'])).toThrow(/has safetensors but no config\.json/)
  expect(() => choose(['README.md'])).toThrow(/holds no model/)
})
