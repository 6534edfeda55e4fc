import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { processStart } from '../checkpoint/process-start.js'
import { listCachedRepos, removeCachedRepo } from './cached-repos.js'

const A = 'a'.repeat(40)
const B = 'b'.repeat(40)

let root: string
let repo: string
/** Two snapshots that share a blob of 10 bytes; each has one of 100 or 1000 of its own. */
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'shoal-repos-'))
  repo = join(root, 'models--org--name')
  for (const name of ['blobs', 'refs/refs/pr', `snapshots/${A}/sub`, `snapshots/${B}`, `.no_exist/${A}`, 'trees']) {
    await mkdir(join(repo, name), { recursive: true })
  }
  for (const [name, size] of [
    ['shared', 10],
    ['a', 100],
    ['b', 1000],
  ] as const) {
    await writeFile(join(repo, 'blobs', name), Buffer.alloc(size))
  }
  await symlink('../../blobs/shared', join(repo, 'snapshots', A, 'config.json'))
  await symlink('../../../blobs/a', join(repo, 'snapshots', A, 'sub/x.gguf'))
  await symlink('../../blobs/shared', join(repo, 'snapshots', B, 'config.json'))
  await symlink('../../blobs/b', join(repo, 'snapshots', B, 'x.gguf'))
  await writeFile(join(repo, 'refs/main'), B)
  await writeFile(join(repo, 'refs/refs/pr/1'), A)
  await writeFile(join(repo, 'trees', `${A}.json`), '{}')
  await mkdir(join(root, 'datasets--org--data'))
  await mkdir(join(root, '.locks/models--org--name'), { recursive: true })
})
afterEach(() => rm(root, { recursive: true }))

it('lists repositories with their revisions; what is shared counts once', async () => {
  expect(await listCachedRepos(root)).toMatchObject([
    {
      repo: 'org/name',
      path: repo,
      bytes: 1110,
      revisions: [
        { commit: A, refs: ['refs/pr/1'], bytes: 110, files: 2 },
        { commit: B, refs: ['main'], bytes: 1010, files: 2 },
      ],
    },
  ])
  expect(await listCachedRepos(join(root, 'no-such-cache'))).toEqual([])
})

it('has a date for one whose files were only listed', async () => {
  await mkdir(join(root, 'models--org--listed', 'trees'), { recursive: true })
  const listed = (await listCachedRepos(root)).find((each) => each.repo === 'org/listed')!
  expect(listed).toMatchObject({ bytes: 0, revisions: [] })
  expect(Date.now() - listed.lastUsed.getTime()).toBeLessThan(60_000)
})

it('removes a revision and leaves what another needs', async () => {
  expect(await removeCachedRepo(root, 'org/name', A)).toBe(100)
  expect(await readdir(join(repo, 'blobs'))).toEqual(['b', 'shared'])
  expect(existsSync(join(repo, 'snapshots', A))).toBe(false)
  expect(existsSync(join(repo, 'refs/refs/pr/1'))).toBe(false)
  expect(await readdir(join(repo, 'trees'))).toEqual([])
  expect(await listCachedRepos(root)).toMatchObject([{ bytes: 1010, revisions: [{ commit: B, refs: ['main'] }] }])
  expect(await removeCachedRepo(root, 'org/name', B)).toBe(1010)
  expect(await readdir(root)).toEqual(['.locks', 'datasets--org--data'])
})

it('removes all of a repository, and nothing that its links lead to', async () => {
  const outside = join(root, 'outside')
  await writeFile(outside, 'x')
  await symlink('../../../outside', join(repo, 'snapshots', A, 'link'))
  expect(await removeCachedRepo(root, 'org/name', A)).toBe(100)
  expect(await removeCachedRepo(root, 'org/name')).toBe(1010 + 40)
  expect(existsSync(repo)).toBe(false)
  expect(existsSync(outside)).toBe(true)
  await symlink('outside', join(root, 'models--org--link'))
  await expect(removeCachedRepo(root, 'org/link')).rejects.toThrow(/is a link; it is not removed/)
  await expect(removeCachedRepo(root, 'org/gone')).rejects.toMatchObject({ code: 'file_missing' })
})

it('refuses while somebody fetches it', async () => {
  const lock = join(root, '.locks/models--org--name/x.shoal.lock')
  await writeFile(lock, `${process.ppid} ${processStart(process.ppid) ?? ''}`)
  await expect(removeCachedRepo(root, 'org/name')).rejects.toThrow(/org\/name: process \d+ is fetching it; stop that/)
  await writeFile(lock, '999999999 1')
  expect(await removeCachedRepo(root, 'org/name')).toBe(1110 + 40 + 40 + 2)
})
