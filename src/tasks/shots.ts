import { createRandomStream } from '../engine/schedule/random-stream.js'
import { InputError } from '../errors.js'
import type { Task, TaskItem } from './task.js'

/**
 * `count` shots for an item, drawn without replacement; never an item with the same input, and of the same subject
 * where the item has one. Fewer where the pool has no more. Seed and index alone decide: fewer shots are the first of
 * more, and other items do not matter.
 *
 * @param index which item of the task it is
 */
export function sampleShots(task: Task, index: number, count: number, seed: number): TaskItem[] {
  const item = task.items[index]
  if (item === undefined) throw new InputError(`task ${task.name} has no item ${index}`)
  if (!Number.isSafeInteger(count) || count < 0) throw new InputError(`shots must be a whole number >= 0, not ${count}`)
  if (count === 0) return []
  const pool = poolOf(task, item.subject)
  const random = createRandomStream(itemSeed(seed, index))
  // Fisher-Yates from the front; only places that were swapped are kept.
  const moved = new Map<number, number>()
  const shots: TaskItem[] = []
  for (let i = 0; i < pool.length && shots.length < count; i++) {
    const j = i + Math.floor(random() * (pool.length - i))
    const shot = pool[moved.get(j) ?? j] as TaskItem
    moved.set(j, moved.get(i) ?? i)
    if (shot.input !== item.input) shots.push(shot)
  }
  return shots
}

const POOLS = new WeakMap<readonly TaskItem[], Map<string, TaskItem[]>>()

function poolOf(task: Task, subject: string | undefined): readonly TaskItem[] {
  if (subject === undefined) return task.shots
  let subjects = POOLS.get(task.shots)
  if (subjects === undefined) {
    subjects = new Map()
    for (const shot of task.shots) {
      const own = subjects.get(shot.subject ?? '')
      if (own === undefined) subjects.set(shot.subject ?? '', [shot])
      else own.push(shot)
    }
    POOLS.set(task.shots, subjects)
  }
  return subjects.get(subject) ?? []
}

/** A seed of its own for every item, so that leaving items out changes no other's shots. */
function itemSeed(seed: number, index: number): number {
  return Math.floor(createRandomStream(seed)() * 2 ** 32) * 2 ** 20 + (index % 2 ** 20)
}
