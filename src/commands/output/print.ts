/** Prints for commands: everything that may hold text of a user's object goes through here. */

import { printableAll, printableJson } from '../../text/printable.ts'

export type Output = 'table' | 'json'

export function print<T>(output: Output, value: T, render: (value: T) => string): void {
  process.stdout.write(shown(output, value, render))
}

/**
 * Prints JSON for programs (`line`: in one line, for many of them), or what `render` makes for people of the value with
 * every text in it escaped (text/printable.ts): a name in an object cannot command a terminal.
 */
export function shown<T>(output: Output | 'line', value: T, render: (value: T) => string): string {
  if (output === 'table') return render(printableAll(value))
  return printableJson(`${JSON.stringify(value, undefined, output === 'line' ? undefined : 2)}\n`)
}
