import { UnsupportedError } from '../errors.js'
import { apertus } from './apertus.js'
import { arcee } from './arcee.js'
import { bloom } from './bloom.js'
import { cohere, cohere2 } from './cohere.js'
import { ernie45 } from './ernie.js'
import { exaone4 } from './exaone4.js'
import { falcon } from './falcon.js'
import type { Family } from './family.js'
import { gemma, gemma2, gemma3 } from './gemma.js'
import { glm4 } from './glm4.js'
import { gptNeox } from './gpt-neox.js'
import { gptOss } from './gpt-oss.js'
import { gpt2 } from './gpt2.js'
import { granite, graniteMoe } from './granite.js'
import { hunyuanDense } from './hunyuan.js'
import { llama, mistral, mixtral } from './llama.js'
import { ministral3 } from './mistral3.js'
import { nemotron } from './nemotron.js'
import { olmo, olmo2, olmo3, olmoe } from './olmo.js'
import { opt } from './opt.js'
import { phi, phi3 } from './phi.js'
import { qwen2, qwen2Moe, qwen3, qwen3Moe } from './qwen.js'
import { seedOss } from './seed-oss.js'
import { smollm3 } from './smollm3.js'
import { stablelm } from './stablelm.js'
import { starcoder2 } from './starcoder2.js'

/** Every model family; of those that share an architecture the first reads its GGUF files. A new one is a file and a line here. */
export const FAMILIES: readonly Family[] = [
  llama,
  mistral,
  mixtral,
  ministral3,
  qwen2,
  qwen3,
  qwen2Moe,
  qwen3Moe,
  gemma,
  gemma2,
  gemma3,
  phi,
  phi3,
  gptOss,
  granite,
  graniteMoe,
  olmo,
  olmo2,
  olmo3,
  olmoe,
  smollm3,
  starcoder2,
  stablelm,
  falcon,
  gpt2,
  gptNeox,
  opt,
  bloom,
  cohere,
  cohere2,
  glm4,
  exaone4,
  ernie45,
  seedOss,
  hunyuanDense,
  nemotron,
  apertus,
  arcee,
]

/** @throws UnsupportedError that names the families there are */
export function familyByModelType(modelType: string, path: string): Family {
  const family = FAMILIES.find((f) => f.modelTypes.includes(modelType))
  if (family === undefined)
    throw unknown(
      path,
      `model_type "${modelType}"`,
      FAMILIES.flatMap((f) => f.modelTypes),
    )
  return family
}

/** @throws UnsupportedError that names the architectures there are */
export function familyByArchitecture(architecture: string, path: string): Family {
  const family = FAMILIES.find((f) => f.architecture === architecture)
  if (family === undefined)
    throw unknown(path, `architecture "${architecture}"`, [...new Set(FAMILIES.map((f) => f.architecture))])
  return family
}

function unknown(path: string, what: string, known: readonly string[]): UnsupportedError {
  return new UnsupportedError(`${path}: ${what} is not supported; supported: ${known.join(', ')}`)
}
