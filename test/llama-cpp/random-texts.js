/** Ranges of all planes of Unicode that have characters, and some that have none. */
const RANGES = [
  [0x20, 0x7e],
  [0x20, 0x7e],
  [0x61, 0x7a],
  [0x00, 0x1f],
  [0x7f, 0xff],
  [0x100, 0x24f],
  [0x300, 0x36f],
  [0x370, 0x52f],
  [0x590, 0x6ff],
  [0x900, 0x97f],
  [0xe00, 0xe7f],
  [0x1100, 0x11ff],
  [0x2000, 0x206f],
  [0x2190, 0x23ff],
  [0x3040, 0x30ff],
  [0x4e00, 0x9fff],
  [0xac00, 0xd7a3],
  [0xe000, 0xe0ff],
  [0xfe00, 0xfeff],
  [0xff00, 0xffef],
  [0x10000, 0x100ff],
  [0x1d400, 0x1d7ff],
  [0x1f300, 0x1faff],
  [0x20000, 0x2a6df],
  [0x30000, 0x3134f],
  [0xe0000, 0xe007f],
  [0xf0000, 0xf00ff],
  [0x100000, 0x1000ff],
]
const WORDS = [
  'the',
  ' quick',
  " don't",
  ' 12345',
  '\n\n',
  '\r\n',
  '  ',
  '\t',
  ' Straße',
  ' naïve',
  ' 3.14',
  "'LL",
  '…',
  ' 你好',
  ' привет',
]
/** Longer runs end libllama's own process for some kinds of vocabulary. */
const LONGEST_RUN = 900

/** Random strings, the same for the same name, with special tokens of the vocabulary inside. */
export function randomTexts(name, count, tokenizer) {
  const random = generator([...name].reduce((h, c) => (h * 31 + c.codePointAt(0)) >>> 0, 7))
  const pick = (list) => list[Math.floor(random() * list.length)]
  const specials = []
  for (let id = 0; id < tokenizer.size && specials.length < 200; id++) {
    if (tokenizer.isSpecial(id)) specials.push(tokenizer.decode([id]))
  }
  const character = () => {
    const [first, last] = pick(RANGES)
    return String.fromCodePoint(first + Math.floor(random() * (last - first + 1)))
  }
  return Array.from({ length: count }, () => {
    let text = ''
    const parts = 1 + Math.floor(random() * 30)
    for (let i = 0; i < parts; i++) {
      const kind = random()
      if (kind < 0.45) text += pick(WORDS)
      else if (kind < 0.85) text += character()
      else if (kind < 0.95) text += pick(specials.length > 0 ? specials : WORDS)
      else text += character().repeat(1 + Math.floor(random() * LONGEST_RUN))
    }
    return text
  })
}

/** mulberry32 */
function generator(seed) {
  let a = seed
  return () => {
    a = (a + 0x6d2b79f5) | 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}
