import { createHash, timingSafeEqual } from 'node:crypto'

/** API keys, kept as hashes and compared in constant time. */
export class ApiKeys {
  private readonly hashes: readonly Buffer[]

  /** @param keys none where everybody may ask */
  constructor(keys: readonly string[]) {
    this.hashes = keys.map(digest)
  }

  get required(): boolean {
    return this.hashes.length > 0
  }

  /**
   * Which key a request has, as a name that says nothing of it; null where it has none that counts. Without keys everybody is the same client.
   * @param authorization `Bearer KEY` @param apiKey of `x-api-key`
   */
  clientOf(authorization: string | undefined, apiKey: string | undefined): string | null {
    if (!this.required) return 'anyone'
    const given = apiKey ?? /^Bearer +(.*)$/i.exec(authorization ?? '')?.[1]
    if (given === undefined) return null
    const hash = digest(given)
    let found: number | null = null
    this.hashes.forEach((known, i) => {
      if (timingSafeEqual(known, hash)) found = i
    })
    return found === null ? null : `key ${found + 1}`
  }
}

function digest(key: string): Buffer {
  return createHash('sha256').update(key).digest()
}
