import { Command } from 'commander'
import { type CachedModel, listCache, removeCached } from '../convert/cache.js'
import { cacheFolder } from '../convert/cache-folder.js'
import { bundledModels } from '../convert/package.js'
import { type CachedRepo, type CachedRevision, listCachedRepos, removeCachedRepo } from '../hub/cached-repos.js'
import { hubCacheFolder } from '../hub/hub-settings.js'
import { type Cli, printJson, UsageError, unknownCommand } from './cli.js'
import { addOutputOptions, type OutputOptions } from './output-options.js'
import { bytesText } from './progress-line.js'
import { printTable } from './table.js'

interface ModelsOptions extends OutputOptions {
  readonly all?: boolean
}

const EXAMPLES = `
Examples:
  $ shoal models                                         what is in the cache
  $ shoal models remove ripple-8m                        every conversion of this name
  $ shoal models remove ripple-8m-q8_0-0123456789abcdef  this one
  $ shoal models remove org/name                         a model of the Hub, and its conversions
  $ shoal models remove org/name@main                    one revision of it; what others need stays
  $ shoal models remove --all                            every conversion

Converted models are in SHOAL_CACHE, else in the user's cache directory; those of the Hub in Hugging Face's cache
(HF_HUB_CACHE), which other programs use too: what those fetched is listed and can be removed.`

export function buildModels(cli: Cli): Command {
  const models = new Command('models')
    .description('Show or remove converted models, and models of the Hub that are cached.')
    .usage('[list|remove] [options]')
    .helpCommand(false)
    .addHelpText('after', EXAMPLES)
  models.addCommand(
    addOutputOptions(new Command('list').description('show names, sizes and when each was last used'))
      .usage('[options]')
      .action((options: ModelsOptions) => list(cli, options)),
    { isDefault: true },
  )
  models.addCommand(
    addOutputOptions(new Command('remove').description('remove models by name or id'))
      .usage('[NAME...] [options]')
      .argument('[names...]', 'name or id as the list shows them; of the Hub also org/name@REVISION')
      .option('--all', 'remove every converted model')
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

async function list(cli: Cli, options: ModelsOptions): Promise<void> {
  const models = await listCache()
  const bytes = total(models)
  const repos = await listCachedRepos(hubCacheFolder())
  const hub = { cache: hubCacheFolder(), bytes: total(repos), models: repos.map(repoJson) }
  const bundled = bundledModels()
  if (options.json) {
    printJson(cli, { cache: cacheFolder(), bytes, models: models.map(modelJson), hub, bundled })
    return
  }
  if (models.length > 0) {
    printTable(cli, [
      ['name', 'type', 'size', 'last used', 'id', 'from'],
      ...models.map((model) => [
        model.name,
        model.quantization,
        bytesText(model.bytes),
        minute(model.lastUsed),
        model.id,
        model.source,
      ]),
    ])
    cli.stdout.write('\n')
  }
  cli.stdout.write(`${counted(models.length)} · ${bytesText(bytes)} · ${cacheFolder()}\n`)
  if (repos.length > 0) {
    cli.stdout.write('\n')
    printTable(cli, [['of the Hub', 'revision', 'files', 'size', 'last used'], ...repos.flatMap(repoRows)])
    cli.stdout.write(`\n${counted(repos.length)} · ${bytesText(hub.bytes)} · ${hub.cache}\n`)
  }
  cli.stdout.write(`\nbundled: ${bundled.join(', ')}\n`)
}

/** One line for each snapshot; one for a repository of which nothing is whole yet, or only the list of its files is there. */
function repoRows({ repo, bytes, lastUsed, revisions }: CachedRepo): string[][] {
  if (revisions.length === 0) return [[repo, bytes === 0 ? 'listed' : 'begun', '', bytesText(bytes), minute(lastUsed)]]
  return revisions.map(({ commit, refs, files, bytes }) => [
    repo,
    `${refs.join(', ')} ${commit.slice(0, 7)}`.trim(),
    String(files),
    bytesText(bytes),
    minute(lastUsed),
  ])
}

async function remove(cli: Cli, names: readonly string[], options: ModelsOptions): Promise<void> {
  if (names.length === 0 && !options.all) throw new UsageError('say which models to remove, or --all')
  const models = await listCache()
  const repos = await listCachedRepos(hubCacheFolder())
  const chosen = new Map<string, CachedModel>()
  const fetched: { repo: string; commit?: string }[] = []
  for (const model of options.all ? models : []) chosen.set(model.id, model)
  for (const name of names) {
    const found = models.filter((model) => model.id === name || model.name === name)
    for (const model of found) chosen.set(model.id, model)
    const ofHub = chooseRepo(name, repos)
    if (ofHub !== null) fetched.push(ofHub)
    if (found.length === 0 && ofHub === null)
      throw new UsageError(`${name} is not in the cache; shoal models shows what is`)
  }
  // Those of the Hub first: one that is being fetched is refused.
  const removedOfHub: { name: string; revision: string | null; bytes: number }[] = []
  for (const { repo, commit } of fetched) {
    const bytes = await removeCachedRepo(hubCacheFolder(), repo, commit)
    removedOfHub.push({ name: repo, revision: commit ?? null, bytes })
  }
  const removed = [...chosen.values()]
  for (const { id } of removed) await removeCached(id)
  const bytes = total(removed) + total(removedOfHub)
  if (options.json) {
    printJson(cli, { cache: cacheFolder(), bytes, removed: removed.map(modelJson), removed_of_hub: removedOfHub })
    return
  }
  for (const { name, revision, bytes } of removedOfHub) {
    const which = revision === null ? '' : ` at ${revision.slice(0, 7)}`
    cli.stdout.write(`removed ${name}${which} of the Hub, ${bytesText(bytes)}\n`)
  }
  for (const { id } of removed) cli.stdout.write(`removed ${id}\n`)
  cli.stdout.write(`${bytesText(bytes)} freed\n`)
}

/** `org/name`, or `org/name@REVISION` with a name or the beginning of a commit; null where none is meant. */
function chooseRepo(name: string, repos: readonly CachedRepo[]): { repo: string; commit?: string } | null {
  const [id = '', revision] = name.split('@')
  const found = repos.find(({ repo }) => repo === id)
  if (found === undefined) return null
  if (revision === undefined) return { repo: id }
  const means = ({ commit, refs }: CachedRevision): boolean =>
    refs.includes(revision) || (/^[0-9a-f]{7,40}$/.test(revision) && commit.startsWith(revision))
  const [first, ...more] = found.revisions.filter(means)
  if (first === undefined)
    throw new UsageError(`${id} has no revision ${revision} in the cache; shoal models shows them`)
  if (more.length > 0) throw new UsageError(`several revisions of ${id} begin with ${revision}`)
  return { repo: id, commit: first.commit }
}

function counted(count: number): string {
  return count === 1 ? '1 model' : `${count} models`
}

function minute(date: Date): string {
  return date.toISOString().slice(0, 16).replace('T', ' ')
}

function total(items: readonly { readonly bytes: number }[]): number {
  return items.reduce((sum, { bytes }) => sum + bytes, 0)
}

function repoJson({ repo, path, bytes, lastUsed, revisions }: CachedRepo): object {
  return { name: repo, path, bytes, last_used: lastUsed.toISOString(), revisions }
}

function modelJson({ id, name, quantization, bytes, source, path, lastUsed }: CachedModel): object {
  return { id, name, quantization, bytes, source, path, last_used: lastUsed.toISOString() }
}
