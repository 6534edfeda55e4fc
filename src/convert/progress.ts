/** How far loading is, in the shape that transformers.js gives to its `progress_callback`. */
export interface ProgressInfo {
  readonly status: 'initiate' | 'progress' | 'done' | 'ready'
  /** The model as it was asked for. */
  readonly name: string
  /** The file that is being written. */
  readonly file: string
  /** 0 to 100. */
  readonly progress: number
  /** Bytes done. */
  readonly loaded: number
  /** Bytes in all. */
  readonly total: number
}

export type ProgressListener = (info: ProgressInfo) => void
