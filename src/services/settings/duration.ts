/** Durations in Go's notation (`300s`, `1h30m`, `250ms`), the one that Kubernetes' users write. */

const unitMs: Readonly<Record<string, number>> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1e3, m: 60e3, h: 3600e3 }
const term = /(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)/y

/** Milliseconds, rounded to whole ones; undefined when the text is no duration. `0` needs no unit, as in Go. */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0
  let ms = 0
  term.lastIndex = 0
  while (term.lastIndex < text.length) {
    const match = term.exec(text)
    if (!match) return undefined
    ms += Number(match[1]) * unitMs[match[2]!]!
  }
  return text === '' || !Number.isFinite(ms) ? undefined : Math.round(ms)
}

/** Prints whole milliseconds in the shortest notation: `90s`, `1500ms`, `0s`. */
export function formatDuration(ms: number): string {
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`
}
