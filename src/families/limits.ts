/** Far above any model: a file that claims more would have its tensors listed until memory ends. */
export const MOST_LAYERS = 4096

/** Likewise: rotary frequencies are computed for every dimension of a head before a tensor is looked at. */
export const MOST_HEAD_DIMENSIONS = 65_536
