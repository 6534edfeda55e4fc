import { UnsupportedError } from '../../errors.js'
import { type Figure, figureSvg } from './svg.js'

/** Draws a figure in its light colours; bytes of a PNG file, twice as many pixels as the figure has. */
export type PngRenderer = (figure: Figure) => Uint8Array

const SCALE = 2

/**
 * Loads the renderer only here: it is an optional package of 4 MB that nothing else needs. Throws UnsupportedError
 * where the package, or any font for it to write with, is missing.
 */
export async function loadPngRenderer(): Promise<PngRenderer> {
  const resvg = await import('@resvg/resvg-js').catch((error: unknown) => {
    throw new UnsupportedError(
      'PNG figures need the optional package @resvg/resvg-js, which is not installed (npm install @resvg/resvg-js)',
      { cause: error },
    )
  })
  const probe = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><text x="2" y="15">x</text></svg>'
  // Without a font, text is left out silently.
  if (new resvg.Resvg(probe).innerBBox() === undefined) {
    throw new UnsupportedError('PNG figures need a font, and this machine has none (install one, such as DejaVu Sans)')
  }
  return (figure) => {
    const image = new resvg.Resvg(figureSvg(figure, 'light'), { fitTo: { mode: 'zoom', value: SCALE } })
    return image.render().asPng()
  }
}
