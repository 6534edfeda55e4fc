/**
 * What a reader of a report would stumble over, one line each; runs in the page. `phone`: panels must stand one below the
 * other. Texts of figures are compared as they stand on the page, turned ones too, by the height of their letters.
 */
globalThis.faultsOfPage = (phone) => {
  const faults = []
  for (const details of document.querySelectorAll('details')) details.open = true
  const width = document.documentElement.clientWidth
  if (document.documentElement.scrollWidth > width)
    faults.push(`the page is ${document.documentElement.scrollWidth} wide`)
  for (const one of document.body.querySelectorAll('*')) {
    if (one.closest('.scroll > *') || one.closest('svg > *')) continue
    const { left, right } = one.getBoundingClientRect()
    if (right > width + 0.5 || left < -0.5) faults.push(`<${one.localName}> reaches from ${left} to ${right}`)
  }

  const shown = [...document.querySelectorAll('svg')].filter((svg) => svg.getClientRects().length > 0)
  for (const svg of shown) {
    const figure = svg.querySelector('title').textContent
    const frame = svg.getBoundingClientRect()
    const scale = frame.width / svg.viewBox.baseVal.width
    const texts = [...svg.querySelectorAll('text')].map((text) => ({
      text: text.textContent,
      corners: cornersOf(text),
    }))
    for (const { text, corners } of texts) {
      const outside = corners.some(
        ([x, y]) => x < frame.left - 1 || x > frame.right + 1 || y < frame.top - 1 || y > frame.bottom + 1,
      )
      if (outside) faults.push(`${figure}: "${text}" reaches out of the figure`)
    }
    texts.forEach((a, i) => {
      for (const b of texts.slice(i + 1)) {
        if (meet(a.corners, b.corners)) faults.push(`${figure}: "${a.text}" and "${b.text}" cover each other`)
      }
    })
    const least = Math.min(
      ...[...svg.querySelectorAll('text')].map((text) => parseFloat(getComputedStyle(text).fontSize)),
    )
    if (least * scale < 9) faults.push(`${figure}: letters of ${(least * scale).toFixed(1)} pixels`)
    const panels = [...svg.querySelectorAll(':scope > g[data-panel]')].map((panel) => panel.getBoundingClientRect())
    panels.forEach((a, i) => {
      for (const b of panels.slice(i + 1)) {
        const aside = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top)
        if (phone && aside > 4) faults.push(`${figure}: two panels stand side by side`)
      }
    })
  }

  for (const scroller of document.querySelectorAll('.scroll')) {
    const names = [...scroller.querySelectorAll('thead th')].map((cell) => cell.textContent)
    const at = names.indexOf('accuracy')
    if (at < 0) continue
    scroller.scrollLeft = 0
    const { right } = scroller.querySelectorAll('thead th')[at].getBoundingClientRect()
    if (right > scroller.getBoundingClientRect().right + 0.5) faults.push(`accuracy ends at ${right}, out of sight`)
  }
  return faults

  /** Corners of the box of a text's letters: four fifths of a line's height. */
  function cornersOf(text) {
    const { x, y, width, height } = text.getBBox()
    const matrix = text.getScreenCTM()
    const [top, bottom] = [y + height * 0.14, y + height * 0.94]
    const corners = [
      [x, top],
      [x + width, top],
      [x + width, bottom],
      [x, bottom],
    ]
    return corners.map(([px, py]) => {
      const point = new DOMPoint(px, py).matrixTransform(matrix)
      return [point.x, point.y]
    })
  }

  /** Whether two rectangles have more than half a pixel in common: no side of either parts them. */
  function meet(a, b) {
    for (const corners of [a, b]) {
      for (const [from, to] of [
        [corners[0], corners[1]],
        [corners[1], corners[2]],
      ]) {
        const length = Math.hypot(to[0] - from[0], to[1] - from[1])
        if (length === 0) return false
        const along = ([x, y]) => (x * (to[0] - from[0]) + y * (to[1] - from[1])) / length
        const [mine, theirs] = [a.map(along), b.map(along)]
        const common =
          Math.min(Math.max(...mine), Math.max(...theirs)) - Math.max(Math.min(...mine), Math.min(...theirs))
        if (common < 0.5) return false
      }
    }
    return true
  }
}
