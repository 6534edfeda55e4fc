// A depth policy of your own: leave when several checked layers in a row say the same token (the rule of PABEE, arXiv
// 2006.04152). The engine calls it at every check; it neither knows nor cares what the policy counts.
import { loadModel } from 'shoal'

/**
 * @param {number} patience checks in a row that must agree
 * @returns {import('shoal').ExitPolicy<undefined, { top: number, same: number }>}
 */
function agreement(patience) {
  return {
    kind: 'exit',
    spec: `agreement:${patience}`,
    checkLayers: (layers) => Array.from({ length: layers - 1 }, (_, layer) => layer).filter((layer) => layer >= 4),
    startToken: () => ({ top: -1, same: 0 }),
    exits(check, token) {
      token.same = check.top === token.top ? token.same + 1 : 0
      token.top = check.top
      return token.same >= patience
    },
  }
}

const model = await loadModel('ripple-8m')
for (const patience of [2, 4, 8]) {
  const { text, meanDepth, layers } = await model.generate('Once upon a time', {
    depth: agreement(patience),
    maxTokens: 32,
  }).result
  console.log(`patience ${patience}: mean depth ${meanDepth.toFixed(1)} of ${layers}\n ${JSON.stringify(text)}`)
}
await model.dispose()
