/** The command line. Each command loads its own code when it runs, so that `lightpath --help` is quick and agents are small. */

import { program } from 'commander'
import packageJson from '../package.json' with { type: 'json' }
import { agentCommands } from './cli/agent.ts'
import { clusterCommands } from './cli/cluster.ts'
import { lookCommands } from './cli/look.ts'
import { run } from './cli/run.ts'
import { printable } from './text/printable.ts'

program
  .name('lightpath')
  .description(
    `${packageJson.description}\nDocumentation: docs/ beside the program, beginning with docs/architecture.md.`,
  )
  .version(packageJson.version)
  // Before the commands, which inherit both: a mistake is one line and exit code 2, whoever finds it.
  .configureOutput({
    outputError: (text, write) => write(`lightpath: ${printable(oneLine(text))}; --help says more\n`),
  })
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2))

agentCommands(program)
lookCommands(program)
clusterCommands(program)

program
  .command('demo')
  .description(
    'show Lightpath at work on this machine: two nodes as network namespaces, real Envoy, real traffic (needs root)',
  )
  .option('--keep', 'leave it running, and say how to look around')
  .action(run(async (_config, _args, { keep }) => (await import('./commands/demo.ts')).demo(keep === true)))

await program.parseAsync()

/** Commander's `error: unknown command 'nod'\n(Did you mean node?)`. */
function oneLine(text: string): string {
  return text
    .replace(/^error: /, '')
    .trim()
    .replace(/\.?\s*\n/g, ' ')
}
