/** Formats text for people: aligned columns, and colours where the output is a terminal. */

import { styleText } from 'node:util'

type Style = Parameters<typeof styleText>[0]

/** Colours on a terminal only; NO_COLOR and FORCE_COLOR are honoured. */
export function paint(style: Style, text: string): string {
  return styleText(style, text, { stream: process.stdout })
}

/** Makes columns as wide as their widest cell, with two spaces between; the last is not padded. */
export function table(header: readonly string[], rows: readonly (readonly string[])[], indent = ''): string {
  const all = [header, ...rows]
  const widths = header.map((_, column) => Math.max(...all.map(row => row[column]?.length ?? 0)))
  const line = (cells: readonly string[]) =>
    indent +
    cells
      .map((cell, i) => (i === header.length - 1 ? cell : cell.padEnd(widths[i]!)))
      .join('  ')
      .trimEnd()
  return [paint('bold', line(header)), ...rows.map(line)].join('\n')
}

/**
 * Puts words after a title, separated by commas, in lines of at most 110 characters that begin below the first word.
 */
export function wrap(title: string, words: readonly string[]): string[] {
  const lines = [title]
  for (const [i, word] of words.entries()) {
    const piece = i === words.length - 1 ? word : `${word}, `
    if (lines.at(-1)!.length + piece.trimEnd().length > 110) lines.push(' '.repeat(title.length))
    lines[lines.length - 1] += piece
  }
  return lines.map(line => line.trimEnd())
}
