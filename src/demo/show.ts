/** How the demo speaks to who watches it. Colours and moving progress only on a terminal. */

import type { Writable } from 'node:stream'
import { styleText } from 'node:util'

export type Output = Writable & { readonly isTTY?: boolean }
type Style = Parameters<typeof styleText>[0]
type Cell = string | number

/** Progress is shown for what takes longer. */
const patienceMs = 2000

export class Show {
  readonly #out: Output

  constructor(out: Output) {
    this.#out = out
  }

  heading(text: string): void {
    this.#line(`\n${this.#styled('bold', text)}`)
  }

  explain(text: string): void {
    this.#line(this.#styled('gray', text))
  }

  /** What was run, as a user would type it, and where. */
  command(where: string, words: string): void {
    this.#line(`  ${this.#styled('cyan', `${where}$`)} ${words}`)
  }

  output(text: string): void {
    this.#line(text.trimEnd().replace(/^/gm, '    '))
  }

  /** Texts to the left, numbers to the right. A row of the header is not needed. */
  table(header: readonly string[], rows: readonly (readonly Cell[])[]): void {
    const widths = header.map((title, column) => Math.max(title.length, ...rows.map(row => `${row[column]}`.length)))
    const align = (cell: Cell, column: number) =>
      typeof cell === 'number' ? `${cell}`.padStart(widths[column]!) : cell.padEnd(widths[column]!)
    const numeric = (column: number) => typeof rows[0]?.[column] === 'number'
    const title = header.map((text, column) => (numeric(column) ? text.padStart(widths[column]!) : align(text, column)))
    this.#line(`    ${this.#styled('underline', title.join('  ').trimEnd())}`)
    for (const row of rows) this.#line(`    ${row.map(align).join('  ').trimEnd()}`)
  }

  seen(text: string): void {
    this.#line(`  ${this.#styled('green', '✓')} ${text}`)
  }

  failed(text: string): void {
    this.#line(`  ${this.#styled('red', '✗')} ${text}`)
  }

  /** Waits for the work, and says what is waited for when it takes long. */
  async progress<T>(what: string, work: Promise<T>): Promise<T> {
    const begun = performance.now()
    const say = () => this.#out.write(`\r  … ${what} (${Math.round((performance.now() - begun) / 1000)} s)`)
    let ticks: NodeJS.Timeout | undefined
    const patience = setTimeout(() => {
      if (!this.#out.isTTY) return this.#line(`  … ${what}`)
      say()
      ticks = setInterval(say, 1000)
    }, patienceMs)
    try {
      return await work
    } finally {
      clearTimeout(patience)
      clearInterval(ticks)
      if (ticks) this.#out.write('\r\x1b[K')
    }
  }

  #line(text: string): void {
    this.#out.write(`${text}\n`)
  }

  #styled(style: Style, text: string): string {
    return this.#out.isTTY && process.env.NO_COLOR === undefined
      ? styleText(style, text, { validateStream: false })
      : text
  }
}
