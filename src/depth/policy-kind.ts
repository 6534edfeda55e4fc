export const POLICY_KINDS = ['adainfer-svm', 'adainfer-crf', 'adainfer-logistic'] as const
export type PolicyKind = (typeof POLICY_KINDS)[number]
