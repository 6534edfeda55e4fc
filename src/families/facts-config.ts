import type { ConfigReader } from '../checkpoint/config-reader.js'
import {
  FACTS,
  type Fact,
  type FactName,
  type Facts,
  type FactUses,
  type FactValue,
  usesOf,
  valueOfDefault,
} from './facts.js'

/**
 * The facts in a config.json.
 * @throws FileError or UnsupportedError that name the field
 */
export function factsOfConfig(config: ConfigReader, uses: FactUses): Facts {
  const facts: Partial<Record<FactName, FactValue>> = {}
  for (const [name, fact] of usesOf(uses)) {
    const read =
      fact.read === undefined ? configValue(config, fact, facts.layers) : fact.read(config, facts as unknown as Facts)
    const value =
      read ?? (fact.read !== undefined || isNone(config, fact) ? undefined : valueOfDefault(fact.default, facts))
    if (value !== undefined) facts[name] = value
    else if (FACTS[name].always === true && fact.kind !== 'flag') requireField(config, fact)
  }
  return facts as unknown as Facts
}

function configValue(config: ConfigReader, fact: Fact, layers: unknown): FactValue | undefined {
  for (const path of fact.config) {
    const { reader, field } = locate(config, path)
    if (reader === null || !reader.has(field)) continue
    if (fact.kind === 'flag') return reader.boolean(field)
    if (fact.kind === 'numbers') {
      const list = reader.numbers(field)
      if (list.length !== layers) throw reader.unsupported(field)
      return list
    }
    const { min, max } = fact
    if (fact.kind === 'number') return reader.number(field, min === undefined ? {} : { min })
    return reader.count(field, { ...(min !== undefined && { min }), ...(max !== undefined && { max }) })
  }
  return undefined
}

/** The field that says a fact; none, and so empty, where config.json does not say it. */
export function fieldOf(config: ConfigReader, uses: FactUses, name: FactName): string {
  const fields = uses[name]?.config ?? FACTS[name].config
  return fields.find((field) => config.has(field)) ?? ''
}

/** A field by its path: `rope_parameters.factor` leads into an object. */
function locate(config: ConfigReader, path: string): { reader: ConfigReader | null; field: string } {
  const dot = path.indexOf('.')
  if (dot < 0) return { reader: config, field: path }
  return { reader: config.object(path.slice(0, dot)), field: path.slice(dot + 1) }
}

function isNone(config: ConfigReader, { config: fields, mayBeNone }: Fact): boolean {
  return mayBeNone === true && fields.some((field) => config.fields[field] === null)
}

function requireField(config: ConfigReader, { config: [field = ''] }: Fact): void {
  config.count(field)
}
