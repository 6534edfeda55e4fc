import type { GgufFile } from '../checkpoint/gguf-file.js'
import { fingerprintOf } from './fingerprint.js'

/** What tells a model's weights from others', read when it is asked for. */
export class WeightsIdentity {
  private knownFingerprint: string | null = null

  constructor(private readonly file: GgufFile) {}

  get fingerprint(): string {
    this.knownFingerprint ??= fingerprintOf(this.file)
    return this.knownFingerprint
  }
}
