import { describe, expect, it } from 'vitest'
import { InputError } from '../errors.js'
import { exactMatch, normalizeSquad, squadExactMatch, squadF1 } from './answer-match.js'
import { isGoldToken, labelTokens, logLikelihood, logProbability, pickLabel } from './scoring.js'

describe('score by token', () => {
  it('asks for the first token of a gold answer', () => {
    expect(isGoldToken(5, [[5, 6]])).toBe(true)
    expect(isGoldToken(6, [[5, 6]])).toBe(false)
    expect(isGoldToken(7, [[5, 6], [7]])).toBe(true)
  })
})

describe('score by labels', () => {
  it('takes the best of the first tokens', () => {
    const tokens = labelTokens([
      { text: 'no', ids: [1] },
      { text: 'yes', ids: [3, 1] },
    ])
    expect(tokens).toEqual([1, 3])
    expect(pickLabel(Float32Array.of(9, 1, 8, 2), tokens)).toBe(1)
    expect(pickLabel(Float32Array.of(9, 2, 8, 2), tokens)).toBe(0)
    expect(pickLabel(Float32Array.of(9, Number.NaN, 8, 2), tokens)).toBe(1)
    expect(pickLabel(Float32Array.of(9, Number.NEGATIVE_INFINITY, 8, Number.NEGATIVE_INFINITY), tokens)).toBe(0)
    expect(pickLabel(new Float32Array(4).fill(Number.NaN), tokens)).toBe(-1)
  })

  it('refuses labels that begin with the same token', () => {
    const labels = [
      { text: 'positive', ids: [4, 5] },
      { text: 'possible', ids: [4, 6] },
    ]
    expect(() => labelTokens(labels)).toThrow(InputError)
    expect(() => labelTokens(labels)).toThrow(
      'labels "positive" and "possible" begin with the same token (4); use likelihood',
    )
  })
})

describe('score by likelihood', () => {
  it('sums log-probabilities', () => {
    const a = Float32Array.of(Math.log(1), Math.log(3), Math.log(4))
    const b = Float32Array.of(Math.log(5), Math.log(5), Math.log(10))
    expect(logProbability(a, 1)).toBeCloseTo(Math.log(3 / 8), 6)
    expect(logLikelihood([1, 2], (i) => [a, b][i]!)).toBeCloseTo(Math.log(3 / 8) + Math.log(1 / 2), 6)
    expect(logLikelihood([], () => a)).toBe(0)
  })
})

describe('score by generated text', () => {
  it('is exact, spaces at the ends aside', () => {
    expect(exactMatch(' New York\n', ['London', 'New York'])).toBe(true)
    expect(exactMatch('new york', ['New York'])).toBe(false)
  })

  // Values of the official evaluate-v1.1.py, worked out by hand from its rules.
  it('is normalised for SQuAD', () => {
    expect(normalizeSquad('The  Cat, (a) "dog"!\tan owl')).toBe('cat dog owl')
    expect(normalizeSquad('theatre Athens A-ha')).toBe('theatre athens aha')
    expect(normalizeSquad('$1,000 – 24–10')).toBe('1000 – 24–10')
    // "é" is a letter to Python's word borders, so no article stands before it.
    expect(normalizeSquad('aé the')).toBe('aé')
    expect(squadExactMatch('the Denver Broncos.', ['Carolina', 'Denver Broncos'])).toBe(1)
    expect(squadExactMatch('Denver', ['Denver Broncos'])).toBe(0)
    expect(squadExactMatch('the', ['a'])).toBe(1)
  })

  it('overlaps words for SQuAD, best gold answer first', () => {
    expect(squadF1('Denver Broncos', ['the Denver Broncos'])).toBe(1)
    expect(squadF1('Broncos of Denver', ['Denver Broncos'])).toBeCloseTo(0.8, 12)
    expect(squadF1('x', ['Denver Broncos'])).toBe(0)
    expect(squadF1('the', ['a'])).toBe(0)
    expect(squadF1('go go go', ['go go'])).toBeCloseTo(0.8, 12)
    expect(squadF1('February 7', ['February 7, 2016', 'February 7'])).toBe(1)
  })
})
