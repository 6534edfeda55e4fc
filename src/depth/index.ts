// Every policy that a SPEC can name. A new policy is its own file and one line here.
export { adainfer } from './adainfer.js'
export { exit } from './exit.js'
export { full } from './full.js'
export { gap } from './gap.js'
export { layers } from './layers.js'
export { unified } from './unified.js'
