export const GEMMA3: string
export const SMOLLM2: string
export function realModel(name: string): string | null
