/** How a command runs, and what all of them have in common. */

import { type Command, Option } from 'commander'
import { readConfig } from '../commands/config.ts'
import type { Config } from '../commands/options.ts'
import type { Output } from '../commands/output/print.ts'
import { UsageError } from '../commands/usage.ts'
import { printable } from '../text/printable.ts'

type Action = (config: Config, args: string[], options: Readonly<Record<string, unknown>>) => Promise<void>

/** Runs an action with its configuration; a user's mistake is one line and exit code 2, any other error one line and 1. */
export function run(action: Action): (...given: unknown[]) => Promise<void> {
  return async (...given) => {
    const command = given.at(-1) as Command
    try {
      await action(readConfig(command), command.args, command.opts())
    } catch (error) {
      process.stderr.write(`lightpath ${command.name()}: ${printable((error as Error).message)}\n`)
      process.exitCode = error instanceof UsageError ? 2 : 1
    }
  }
}

export function outputOption(): Option {
  return new Option('--output <table|json>', 'for people or for programs').default('table')
}

/** @throws UsageError */
export function outputFormat(text: unknown): Output {
  if (text === 'table' || text === 'json') return text
  throw new UsageError(`--output is ${JSON.stringify(text)}, which is not table or json`)
}
