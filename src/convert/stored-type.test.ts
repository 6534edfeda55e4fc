import { expect, it } from 'vitest'
import { storedType } from './stored-type.js'

it('keeps the type where rows divide into its blocks', () => {
  expect(storedType('q4_k', 2048)).toBe('q4_k')
  expect(storedType('q4_0', 192)).toBe('q4_0')
  expect(storedType('f32', 7)).toBe('f32')
  expect(storedType('bf16', 7)).toBe('bf16')
})

it('falls back as llama.cpp does where they do not', () => {
  expect(storedType('q4_k', 192)).toBe('q5_0')
  expect(storedType('q6_k', 192)).toBe('q8_0')
  expect(storedType('q4_k', 100)).toBe('f16')
  expect(storedType('q6_k', 100)).toBe('f16')
  expect(storedType('q8_0', 20)).toBe('f16')
  expect(storedType('q4_0', 20)).toBe('f16')
})
