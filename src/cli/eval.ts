import { Command } from 'commander'
import { type Cli, requireSubcommand } from './cli.js'
import { buildEvalAnswers } from './eval-answers.js'
import { buildEvalGeneration } from './eval-generation.js'
import { buildEvalMatrix } from './eval-matrix.js'
import { buildEvalTasks } from './eval-tasks.js'

const EXAMPLES = `
Examples:
  $ shoal eval tasks                                     the names that --task takes
  $ shoal eval answers --task fruit_v_animal_3 --task capitalize --shots 0,5 --depth gap:0.8 -o report.html
  $ shoal eval generation --task prose --depth unified:2x --depth gap:0.9
  $ shoal eval matrix --task fruit_v_animal_3 --task capitalize --shots 5 -o matrix.html`

export function buildEval(cli: Cli): Command {
  const command = new Command('eval')
    .description('Run tasks under several depths, each compared with full depth on the same questions.')
    .usage('answers|generation|matrix|tasks [MODEL] [options]')
    .helpCommand(false)
    .addHelpText('after', EXAMPLES)
  for (const build of [buildEvalAnswers, buildEvalGeneration, buildEvalMatrix, buildEvalTasks]) {
    command.addCommand(build(cli))
  }
  return requireSubcommand(command)
}
