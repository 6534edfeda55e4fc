/** How far loading is, in the shape that transformers.js gives to its `progress_callback`. */
export interface ProgressInfo {
  /** Of a download: every file is told with `initiate` and its size, then each with `download`, `progress` and `done`. */
  readonly status: 'initiate' | 'download' | 'progress' | 'done' | 'ready'
  /** `download` where the file comes from the Hub; else it is being converted. */
  readonly stage?: 'download'
  /** The model as it was asked for. */
  readonly name: string
  /** The file that is being written; of a download, its path in the repository. */
  readonly file: string
  /** 0 to 100. */
  readonly progress: number
  /** Bytes done. */
  readonly loaded: number
  /** Bytes in all. */
  readonly total: number
}

export type ProgressListener = (info: ProgressInfo) => void
