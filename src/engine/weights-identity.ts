import type { GgufFile } from '../checkpoint/gguf.js'
import { fingerprintOf, weightsDigest } from './fingerprint.js'

/** What tells a model's weights from others', read when it is asked for. */
export class WeightsIdentity {
  private knownFingerprint: string | null = null
  private knownDigest: string | null = null

  constructor(private readonly file: GgufFile) {}

  /** `fingerprintOf` the file. */
  get fingerprint(): string {
    this.knownFingerprint ??= fingerprintOf(this.file)
    return this.knownFingerprint
  }

  /** `weightsDigest` of the file: what is measured on these weights is theirs alone. */
  get digest(): string {
    this.knownDigest ??= weightsDigest(this.file)
    return this.knownDigest
  }
}
