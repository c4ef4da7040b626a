/**
 * Turns what a command printed to a terminal into a picture (SVG): text on standard input, the picture on standard output.
 *
 *     script -qec 'bin/lightpath demo' /dev/null | node tools/picture.ts > docs/demo.svg
 */

import { text } from 'node:stream/consumers'

const esc = '\u001b'
const colouring = new RegExp(`${esc}\\[([\\d;]*)m`)
const [charWidth, lineHeight, margin, columns] = [7.85, 17, 14, 126]
const colours: Readonly<Record<string, string>> = {
  '31': '#ff7b72',
  '32': '#7ee787',
  '33': '#e3b341',
  '36': '#79c0ff',
  '90': '#8b949e',
}

interface Style {
  readonly fill: string
  readonly bold: boolean
  readonly underline: boolean
}

const plain: Style = { fill: '#e6edf3', bold: false, underline: false }

function restyle(style: Style, code: string): Style {
  if (code === '1') return { ...style, bold: true }
  if (code === '4') return { ...style, underline: true }
  if (code === '22') return { ...style, bold: false }
  if (code === '24') return { ...style, underline: false }
  if (code === '39') return { ...style, fill: plain.fill }
  if (code === '0' || code === '') return plain
  return { ...style, fill: colours[code] ?? style.fill }
}

/** A line as a terminal shows it: what is before a carriage return is overwritten. */
function shown(line: string): string {
  return line.replace(/\r+$/, '').split('\r').at(-1)!.replaceAll(`${esc}[K`, '')
}

function spans(line: string): string {
  let style = plain
  let column = 0
  let result = ''
  for (const part of line.split(new RegExp(`(${esc}\\[[\\d;]*m)`))) {
    const codes = colouring.exec(part)?.[1]
    if (codes !== undefined) {
      for (const code of codes.split(';')) style = restyle(style, code)
      continue
    }
    const visible = part.slice(0, Math.max(0, columns - column))
    column += visible.length
    if (visible === '') continue
    const weight = style.bold ? ' font-weight="bold"' : ''
    const decoration = style.underline ? ' text-decoration="underline"' : ''
    result += `<tspan fill="${style.fill}"${weight}${decoration}>${escapeXml(visible)}</tspan>`
  }
  return result
}

function escapeXml(value: string): string {
  return value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

const lines = (await text(process.stdin)).trimEnd().split('\n').map(shown)
const [width, height] = [columns * charWidth + 2 * margin, lines.length * lineHeight + 2 * margin]
const rows = lines.map((line, i) => `<text x="${margin}" y="${margin + (i + 0.8) * lineHeight}">${spans(line)}</text>`)
process.stdout.write(
  [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace" font-size="13" xml:space="preserve">`,
    '<title>What the command printed</title>',
    `<rect width="100%" height="100%" rx="8" fill="#0d1117"/>`,
    ...rows,
    '</svg>\n',
  ].join('\n'),
)
