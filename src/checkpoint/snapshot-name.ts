import { basename, dirname, resolve } from 'node:path'

/**
 * What a model's folder is called: its own name, and `org/name` where it is a snapshot in Hugging Face's cache, whose name is a
 * commit.
 */
export function folderName(folder: string): string {
  const path = resolve(folder)
  const snapshots = dirname(path)
  const [, repo] = /^models--([\w.-]+)$/.exec(basename(dirname(snapshots))) ?? []
  const isSnapshot = /^[0-9a-f]{40}$/.test(basename(path)) && basename(snapshots) === 'snapshots'
  return isSnapshot && repo !== undefined ? repo.replace('--', '/') : basename(path)
}
