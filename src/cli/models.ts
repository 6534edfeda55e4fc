import { Command } from 'commander'
import { type CachedModel, listCache, removeCached } from '../convert/cache.js'
import { cacheFolder } from '../convert/cache-folder.js'
import { type Cli, printJson, UsageError, unknownCommand } from './cli.js'
import { bytesText } from './progress-line.js'
import { printTable } from './table.js'

interface ModelsOptions {
  readonly json?: boolean
  readonly all?: boolean
}

const EXAMPLES = `
Examples:
  $ shoal models                                         what is in the cache
  $ shoal models remove ripple-8m                        every conversion of this name
  $ shoal models remove ripple-8m-q8_0-0123456789abcdef  this one
  $ shoal models remove --all

The cache is in SHOAL_CACHE, else in the user's cache directory.`

export function buildModels(cli: Cli): Command {
  const models = new Command('models')
    .description('Show or remove what is in the cache of converted models.')
    .usage('[list|remove] [options]')
    .helpCommand(false)
    .addHelpText('after', EXAMPLES)
  models.addCommand(
    shared(new Command('list').description('show names, sizes and when each was last used')).action(
      (options: ModelsOptions) => list(cli, options),
    ),
    { isDefault: true },
  )
  models.addCommand(
    shared(new Command('remove').description('remove models by name or id'))
      .argument('[names...]', 'name or id, as the list shows them')
      .option('--all', 'remove every one')
      .addHelpText('after', EXAMPLES)
      .action((names: string[], options: ModelsOptions) => remove(cli, names, options)),
  )
  // What is no command would be an argument of the default one.
  models.hook('preSubcommand', ({ args: [given = 'list'] }) => {
    const known = models.commands.map((child) => child.name())
    if (!given.startsWith('-') && !known.includes(given)) throw unknownCommand(given, known)
  })
  return models
}

function shared(command: Command): Command {
  return command
    .option('--json', 'print one JSON document and nothing else on stdout')
    .option('--verbose', 'show where an error comes from')
}

async function list(cli: Cli, options: ModelsOptions): Promise<void> {
  const models = await listCache()
  const bytes = total(models)
  if (options.json) {
    printJson(cli, { cache: cacheFolder(), bytes, models: models.map(modelJson) })
    return
  }
  if (models.length > 0) {
    printTable(cli, [
      ['name', 'type', 'size', 'last used', 'id', 'from'],
      ...models.map((model) => [
        model.name,
        model.quantization,
        bytesText(model.bytes),
        model.lastUsed.toISOString().slice(0, 16).replace('T', ' '),
        model.id,
        model.source,
      ]),
    ])
    cli.stdout.write('\n')
  }
  const count = models.length === 1 ? '1 model' : `${models.length} models`
  cli.stdout.write(`${count} · ${bytesText(bytes)} · ${cacheFolder()}\n`)
}

async function remove(cli: Cli, names: readonly string[], options: ModelsOptions): Promise<void> {
  if (names.length === 0 && !options.all) throw new UsageError('say which models to remove, or --all')
  const models = await listCache()
  const chosen = new Map<string, CachedModel>()
  for (const model of options.all ? models : []) chosen.set(model.id, model)
  for (const name of names) {
    const found = models.filter((model) => model.id === name || model.name === name)
    if (found.length === 0) throw new UsageError(`${name} is not in the cache; shoal models shows what is`)
    for (const model of found) chosen.set(model.id, model)
  }
  const removed = [...chosen.values()]
  for (const { id } of removed) await removeCached(id)
  if (options.json) {
    printJson(cli, { cache: cacheFolder(), bytes: total(removed), removed: removed.map(modelJson) })
    return
  }
  for (const { id } of removed) cli.stdout.write(`removed ${id}\n`)
  cli.stdout.write(`${bytesText(total(removed))} freed\n`)
}

function total(models: readonly CachedModel[]): number {
  return models.reduce((sum, { bytes }) => sum + bytes, 0)
}

function modelJson({ id, name, quantization, bytes, source, path, lastUsed }: CachedModel): object {
  return { id, name, quantization, bytes, source, path, last_used: lastUsed.toISOString() }
}
