import { readFile } from 'node:fs/promises'
import { CommandError, runCommand } from '../kernel/system/command.ts'

/** Returns what a program prints, line by line; undefined where it cannot be run or ends with an error. */
export async function outputOf(...command: readonly string[]): Promise<readonly string[] | undefined> {
  const lines: string[] = []
  try {
    await runCommand(command, { onLine: line => void lines.push(line) })
    return lines
  } catch (error) {
    if (error instanceof CommandError) return undefined
    throw error
  }
}

/** Reads a file such as /proc/sys/net/ipv4/ip_forward; undefined where there is none. */
export function textOf(file: string): Promise<string | undefined> {
  return readFile(file, 'utf8').then(
    text => text.trim(),
    () => undefined,
  )
}
