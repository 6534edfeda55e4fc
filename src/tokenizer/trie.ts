/** Strings of UTF-16 code units with a number each; finds those that a text has at a place. */
export class Trie {
  /** Open addressing: keys are node × 2^16 + code unit + 1; 0 is free. */
  #keys = new Float64Array(1024)
  #children = new Int32Array(1024)
  #values = new Int32Array(512).fill(-1)
  #nodes = 1

  /** A later value for the same string replaces the earlier. */
  set(text: string, value: number): void {
    let node = 0
    for (let i = 0; i < text.length; i++) node = this.#childOrNew(node, text.charCodeAt(i))
    this.#values[node] = value
  }

  /** The node below, or -1. The root is node 0. */
  child(node: number, unit: number): number {
    return this.#children[this.#slot(node * 65536 + unit + 1)]! - 1
  }

  /** The node that `text` leads to from `node`, or -1. */
  walk(node: number, text: string): number {
    for (let i = 0; i < text.length && node >= 0; i++) node = this.child(node, text.charCodeAt(i))
    return node
  }

  /** The number of the string that ends at this node, or -1. */
  value(node: number): number {
    return this.#values[node]!
  }

  #slot(key: number): number {
    const keys = this.#keys
    const mask = keys.length - 1
    let slot = Math.imul((key % 4294967296) ^ (key / 4294967296), 0x9e3779b1) >>> 0
    slot = (slot ^ (slot >>> 15)) & mask
    while (keys[slot] !== 0 && keys[slot] !== key) slot = (slot + 1) & mask
    return slot
  }

  #childOrNew(node: number, unit: number): number {
    const key = node * 65536 + unit + 1
    let slot = this.#slot(key)
    if (this.#keys[slot] === key) return this.#children[slot]! - 1
    if (this.#nodes * 2 >= this.#keys.length) {
      this.#grow()
      slot = this.#slot(key)
    }
    this.#keys[slot] = key
    this.#children[slot] = this.#nodes + 1
    return this.#nodes++
  }

  #grow(): void {
    const keys = this.#keys
    const children = this.#children
    this.#keys = new Float64Array(keys.length * 2)
    this.#children = new Int32Array(keys.length * 2)
    for (const [slot, key] of keys.entries()) {
      if (key === 0) continue
      const free = this.#slot(key)
      this.#keys[free] = key
      this.#children[free] = children[slot]!
    }
    const values = new Int32Array(keys.length).fill(-1)
    values.set(this.#values)
    this.#values = values
  }
}
