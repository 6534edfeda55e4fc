import { dirname, relative, sep } from 'node:path'
import { writeAtomicFile } from '../checkpoint/atomic-file.js'
import type { DynamicFile } from '../depth/dynamic-file.js'
import type { PlanFile } from '../depth/plan-file.js'
import type { PolicyFile } from '../depth/policy-file.js'

type AnyPolicyFile = PolicyFile | PlanFile | DynamicFile

/** A policy as the text of its file: a field a line, lists of numbers on one. */
export function policyText(policy: AnyPolicyFile): string {
  const lines = JSON.stringify(policy, null, 2)
  return `${lines.replace(/\[\s+([-+\d.eE,\s]+?)\s+\]/g, (_, list: string) => `[${list.replace(/\s+/g, ' ')}]`)}\n`
}

/** Writes a policy file; it appears under its name when it is complete. Throws FileError. */
export async function writePolicyFile(path: string, policy: AnyPolicyFile): Promise<void> {
  const lens = 'lens' in policy && policy.lens !== null ? policy.lens : null
  if (lens === null) return await writeAtomicFile(path, policyText(policy))
  const file = relative(dirname(path), lens.file).split(sep).join('/')
  await writeAtomicFile(path, policyText({ ...policy, lens: { ...lens, file } } as AnyPolicyFile))
}
