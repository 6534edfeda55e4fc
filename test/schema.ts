import { readFileSync } from 'node:fs'
import { Ajv } from 'ajv'
import { expect } from 'vitest'

const ajv = new Ajv({ allErrors: true, allowUnionTypes: true })

/** The JSON document in `text`, which must fit docs/json/`schema`.schema.json. */
export function matches(schema: string, text: string): Record<string, unknown> {
  const path = new URL(`../docs/json/${schema}.schema.json`, import.meta.url)
  const key = path.href
  const validate = ajv.getSchema(key) ?? ajv.compile({ ...JSON.parse(readFileSync(path, 'utf8')), $id: key })
  const document = JSON.parse(text) as Record<string, unknown>
  void validate(document)
  expect(validate.errors).toBeNull()
  return document
}
