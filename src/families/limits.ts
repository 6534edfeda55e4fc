/** Far above any model: a file that claims more would have its tensors listed until memory ends. */
export const MOST_LAYERS = 4096

/** Likewise: rotary frequencies are computed for every dimension of a head before a tensor is looked at. */
export const MOST_HEAD_DIMENSIONS = 65_536

/** Likewise: a checkpoint's names are listed for every expert, and for every head that has a norm of its own. */
export const MOST_HEADS = 65_536
export const MOST_EXPERTS = 65_536
