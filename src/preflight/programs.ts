/**
 * Checks the programs that the backend runs, and whether the kernel takes its rules: it checks them and applies none.
 */

import type { KernelBackend } from '../kernel/backend.ts'
import type { RulesetOptions } from '../kernel/options.ts'
import type { IpFamily } from '../net/address.ts'
import { hasPortRange } from '../services/settings/clientaddress.ts'
import { type Check, fails, ok, warning } from './check.ts'
import { outputOf } from './output.ts'

export function checkPrograms({ preflight }: KernelBackend): Promise<readonly Check[]> {
  return Promise.all(
    preflight.programs.map(async ({ name, args, packages }) => {
      const lines = await outputOf(name, ...args)
      if (!lines) return fails(`program ${name}`, 'cannot be run', `install it (Debian: ${packages}), run as root`)
      return ok(`program ${name}`, lines[0] ?? 'there')
    }),
  )
}

export async function checkKernel(release: string): Promise<readonly Check[]> {
  const [major = 0, minor = 0] = release.split('.').map(Number)
  const isOld = major < 5 || (major === 5 && minor < 8)
  const version = isOld ? fails('kernel', release, 'use Linux 5.8 or newer') : ok('kernel', release)
  const clientAddress = hasPortRange(release)
    ? []
    : [
        warning(
          'kernel, client address',
          `${release} has no IP_LOCAL_PORT_RANGE`,
          "endpoints see the node's address, the client's is in X-Forwarded-For; for more use Linux 6.3",
        ),
      ]
  return [version, ...clientAddress]
}

/** Checks which of our rules the kernel takes. */
export function checkRules(
  { name, preflight }: KernelBackend,
  families: readonly IpFamily[],
  options: RulesetOptions,
): Promise<readonly Check[]> {
  return Promise.all(
    families.map(async family => {
      const { found, remedy } = await preflight.tryRules(family, options)
      const check = `${name}, ${family}`
      return remedy === undefined ? ok(check, found) : fails(check, found, remedy)
    }),
  )
}
