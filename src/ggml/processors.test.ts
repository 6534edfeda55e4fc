import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { cgroupQuota, processors, readProcessorTime } from './processors.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-cgroup-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function quota(files: Record<string, string>): number | null {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
  return cgroupQuota(join(folder, 'proc'), join(folder, 'sys'))
}

describe('a quota of processors', () => {
  it('is read from control groups of version 2', () => {
    expect(quota({ 'proc/self/cgroup': '0::/app\n', 'sys/app/cpu.max': '150000 100000\n' })).toBe(1.5)
  })

  it('is the least of the group and of those above it', () => {
    const files = {
      'proc/self/cgroup': '0::/a/b\n',
      'sys/a/b/cpu.max': '400000 100000\n',
      'sys/a/cpu.max': '50000 100000\n',
    }
    expect(quota(files)).toBe(0.5)
  })

  it('is found at the root, where a container sees its own group', () => {
    expect(quota({ 'proc/self/cgroup': '0::/\n', 'sys/cpu.max': '200000 100000\n' })).toBe(2)
  })

  it('is read from control groups of version 1', () => {
    expect(
      quota({
        'proc/self/cgroup': '5:memory:/x\n4:cpu,cpuacct:/job\n1:name=systemd:/\n0::/\n',
        'sys/cpu,cpuacct/job/cpu.cfs_quota_us': '100000\n',
        'sys/cpu,cpuacct/job/cpu.cfs_period_us': '100000\n',
      }),
    ).toBe(1)
  })

  it('is absent where none is set, or where there are no control groups', () => {
    expect(quota({ 'proc/self/cgroup': '0::/app\n', 'sys/app/cpu.max': 'max 100000\n' })).toBeNull()
    expect(quota({ 'sys/cpu/cpu.cfs_quota_us': '-1\n' })).toBeNull()
  })
})

it('a process may keep at least one processor busy, and no more than it is bound to', () => {
  expect(processors()).toBeGreaterThanOrEqual(1)
  expect(processors()).toBeLessThanOrEqual(availableParallelism())
})

it('time of the processors grows, and that of this process with it', () => {
  const before = readProcessorTime()!
  const end = performance.now() + 60
  while (performance.now() < end);
  const after = readProcessorTime()!
  expect(after.own - before.own).toBeGreaterThan(10)
  expect(after.busy).toBeGreaterThanOrEqual(before.busy)
})
