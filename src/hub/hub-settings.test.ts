import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { InputError } from '../errors.js'
import { hubCacheFolder, hubSettings } from './hub-settings.js'

const nowhere = { HF_HOME: '/no-such-home' }

describe('the cache is where huggingface_hub has it', () => {
  it.each([
    [{}, join(homedir(), '.cache/huggingface/hub')],
    [{ XDG_CACHE_HOME: '/x' }, '/x/huggingface/hub'],
    [{ XDG_CACHE_HOME: '/x', HF_HOME: '/h' }, '/h/hub'],
    [{ HF_HOME: '~/h' }, join(homedir(), 'h/hub')],
    [{ HF_HOME: '/h', HUGGINGFACE_HUB_CACHE: '/old' }, '/old'],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: as a shell writes a variable
    [{ HUGGINGFACE_HUB_CACHE: '/old', HF_HUB_CACHE: '$DISK/${PART}/new', DISK: '/d', PART: 'p' }, '/d/p/new'],
    [{ HF_HOME: '/h', HF_HUB_CACHE: '' }, '/h/hub'],
  ])('%j', (env, folder) => {
    expect(hubCacheFolder(env)).toBe(folder)
  })
})

describe('the token', () => {
  it('comes from the environment, else from a file', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'shoal-token-'))
    await writeFile(join(folder, 'token'), ' hf_file\r\n')
    const tokenOf = (env: NodeJS.ProcessEnv): string | null => hubSettings({ ...nowhere, ...env }).token
    expect(tokenOf({})).toBeNull()
    expect(tokenOf({ HF_HOME: folder })).toBe('hf_file')
    expect(tokenOf({ HF_TOKEN_PATH: join(folder, 'token') })).toBe('hf_file')
    expect(tokenOf({ HF_HOME: folder, HUGGING_FACE_HUB_TOKEN: 'hf_old' })).toBe('hf_old')
    expect(tokenOf({ HUGGING_FACE_HUB_TOKEN: 'hf_old', HF_TOKEN: 'hf_new\n' })).toBe('hf_new')
    expect(tokenOf({ HF_TOKEN: '', HF_HOME: folder })).toBe('hf_file')
    expect(tokenOf({ HF_TOKEN: 'hf_new', HF_HUB_DISABLE_IMPLICIT_TOKEN: 'yes' })).toBeNull()
    expect(() => tokenOf({ HF_TOKEN: 'hf_ä' })).toThrow(InputError)
    await rm(folder, { recursive: true })
  })
})

it('offline, links, patience and the endpoint are read as huggingface_hub reads them', () => {
  const settings = (env: NodeJS.ProcessEnv) => hubSettings({ ...nowhere, ...env })
  expect(settings({})).toMatchObject({
    endpoint: 'https://huggingface.co',
    offline: false,
    symlinks: true,
    answerMs: 10_000,
    readMs: 10_000,
  })
  expect(settings({ TRANSFORMERS_OFFLINE: 'on' }).offline).toBe(true)
  expect(settings({ TRANSFORMERS_OFFLINE: '1', HF_HUB_OFFLINE: '0' }).offline).toBe(false)
  expect(settings({ HF_HUB_DISABLE_SYMLINKS: 'True' }).symlinks).toBe(false)
  expect(settings({ HF_HUB_ETAG_TIMEOUT: '3', HF_HUB_DOWNLOAD_TIMEOUT: 'x' })).toMatchObject({
    answerMs: 3000,
    readMs: 10_000,
  })
  expect(settings({ HF_ENDPOINT: 'https://mirror.example/hf/' }).endpoint).toBe('https://mirror.example/hf')
  const wrong = [
    'mirror.example',
    'ftp://mirror.example',
    'https://user:secret@mirror.example',
    'https://:s@mirror.example',
  ]
  for (const endpoint of [...wrong, 'https://mirror.example/?', 'https://mirror.example/#x']) {
    expect(() => settings({ HF_ENDPOINT: endpoint })).toThrow(InputError)
  }
})
