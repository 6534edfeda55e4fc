import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'

/**
 * Where converted models are kept: `SHOAL_CACHE`, else the user's cache directory (XDG_CACHE_HOME where it is set, else
 * what the platform uses).
 */
export function cacheFolder(environment: NodeJS.ProcessEnv = process.env, platform = process.platform): string {
  const { SHOAL_CACHE: own, XDG_CACHE_HOME: xdg, LOCALAPPDATA: local } = environment
  if (own) return own
  // The XDG specification says that relative paths are to be ignored.
  if (xdg && isAbsolute(xdg)) return join(xdg, 'shoal')
  if (platform === 'darwin') return join(homedir(), 'Library', 'Caches', 'shoal')
  if (platform === 'win32') return join(local || join(homedir(), 'AppData', 'Local'), 'shoal', 'Cache')
  return join(homedir(), '.cache', 'shoal')
}
