import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { dirname, join } from 'node:path'

/** Processor time in ms since some moment. */
export interface ProcessorTime {
  /** What all processors that this process may use were busy, time that a hypervisor kept from them included. */
  readonly busy: number
  /** What of that was this process. */
  readonly own: number
}

/** How many processors this process may keep busy: its affinity, or fewer where a container's quota says so. */
export function processors(): number {
  const quota = cgroupQuota()
  const all = availableParallelism()
  return quota === null ? all : Math.max(1, Math.min(all, Math.ceil(quota - 0.01)))
}

/**
 * Processors' worth of time that the control groups of this process allow, or null where they set no limit.
 * @param proc,sys folders of the system, for tests
 */
export function cgroupQuota(proc = '/proc', sys = '/sys/fs/cgroup'): number | null {
  const groups = readText(join(proc, 'self/cgroup'))
  if (groups === null) return null
  let least: number | null = null
  for (const line of groups.split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? []
    if (controllers === undefined || path === undefined) continue
    const version2 = controllers === ''
    if (!version2 && !controllers.split(',').includes('cpu')) continue
    const root = version2 ? sys : join(sys, controllers === 'cpu' ? 'cpu' : 'cpu,cpuacct')
    // A container sees its own group at the root; a limit of any group above holds too.
    for (let folder = path; ; folder = dirname(folder)) {
      const quota = quotaOf(join(root, folder), version2)
      if (quota !== null && (least === null || quota < least)) least = quota
      if (folder === '/') break
    }
  }
  return least
}

function quotaOf(folder: string, version2: boolean): number | null {
  const text = version2
    ? readText(join(folder, 'cpu.max'))
    : `${readText(join(folder, 'cpu.cfs_quota_us')) ?? ''} ${readText(join(folder, 'cpu.cfs_period_us')) ?? ''}`
  const [quota, period] = (text ?? '').trim().split(/\s+/).map(Number)
  return quota !== undefined && period !== undefined && quota > 0 && period > 0 ? quota / period : null
}

/** Reads how busy the processors were; 0.03 ms on Linux with two of them. */
export function readProcessorTime(): ProcessorTime | null {
  const { user, system } = process.cpuUsage()
  const busy = process.platform === 'linux' ? busyOnLinux() : busyElsewhere()
  return busy === null ? null : { busy, own: (user + system) / 1000 }
}

/** Fields of a line of /proc/stat: user nice system idle iowait irq softirq steal, in hundredths of a second. */
function busyOnLinux(): number | null {
  const text = readStart('/proc/stat')
  if (text === null) return null
  allowed ??= allowedProcessors()
  let ticks = 0
  for (const line of text.split('\n')) {
    const match = /^cpu(\d+) (.*)$/.exec(line)
    if (match === null) {
      if (line.startsWith('cpu ')) continue
      break
    }
    if (!allowed.has(Number(match[1]))) continue
    const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = match[2]!.split(' ').map(Number)
    ticks += user + nice + system + irq + softirq + steal
  }
  return ticks * 10
}

function busyElsewhere(): number | null {
  const all = cpus()
  return all.length === 0
    ? null
    : all.reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0)
}

let allowed: ReadonlySet<number> | null = null

function allowedProcessors(): ReadonlySet<number> {
  const list = /^Cpus_allowed_list:\s*(.*)$/m.exec(readText('/proc/self/status') ?? '')?.[1] ?? ''
  const ids = list.split(',').flatMap((range) => {
    const [first, last] = range.split('-').map(Number)
    if (first === undefined || !Number.isInteger(first)) return []
    return Array.from({ length: (last ?? first) - first + 1 }, (_, i) => first + i)
  })
  return ids.length > 0 ? new Set(ids) : new Set(cpus().map((_, i) => i))
}

/** The first 64 KiB: lines of the processors come first, and the kernel makes the rest only where it is asked for. */
function readStart(path: string): string | null {
  try {
    const fd = openSync(path, 'r')
    try {
      return buffer.toString('latin1', 0, readSync(fd, buffer, 0, buffer.length, 0))
    } finally {
      closeSync(fd)
    }
  } catch {
    return null
  }
}

const buffer = Buffer.alloc(64 * 1024)

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}
