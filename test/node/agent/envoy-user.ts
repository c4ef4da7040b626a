/** Envoy as its own user with the one capability that it needs, as deploy/proxy has it. */

import { chmodSync, copyFileSync, linkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { definitions } from '../../../src/commands/options.ts'
import type { CommandLine } from '../../../src/lab/command-lines.ts'

export const envoyUser = definitions.envoyUser.default

/** @param directory of the lab, where that user finds the program, wherever it is kept (and the module) */
export function asEnvoyUser([program, ...args]: CommandLine, directory: string): CommandLine {
  const [own, wrapper] = [join(directory, 'envoy'), join(directory, 'start-envoy')]
  chmodSync(directory, 0o711)
  try {
    linkSync(program, own)
  } catch {
    copyFileSync(program, own)
  }
  const user = `--reuid ${envoyUser} --regid ${envoyUser} --clear-groups`
  const capability = '--inh-caps +net_admin --ambient-caps +net_admin --bounding-set -all,+net_admin'
  writeFileSync(wrapper, `#!/bin/sh\nexec setpriv ${user} ${capability} ${own} "$@"\n`, { mode: 0o755 })
  return [wrapper, ...args]
}
