/** The system's programs, and whether the kernel takes our rules: they are checked by the kernel and not applied. */

import { familyNames } from '../kernel/family.ts'
import { renderFixedPart } from '../kernel/iptables/install.ts'
import { IptablesPrograms } from '../kernel/iptables/programs.ts'
import type { SavedRules } from '../kernel/iptables/saved.ts'
import type { ProxyMode } from '../kernel/layer.ts'
import { type Nftables, withNftables } from '../kernel/nftables/client.ts'
import { chooserName } from '../kernel/nftables/elements/external.ts'
import { chooserChain, fixedPart, tableName } from '../kernel/nftables/rules/ruleset.ts'
import type { RulesetOptions } from '../kernel/options.ts'
import type { CommandError } from '../kernel/system/command.ts'
import type { IpFamily } from '../net/address.ts'
import { hasPortRange } from '../services/settings/clientaddress.ts'
import { type Check, fails, ok, warning } from './check.ts'
import { outputOf } from './output.ts'

const programs = {
  nftables: [],
  iptables: [
    { name: 'iptables-restore', args: ['--version'], packages: 'iptables' },
    { name: 'ip6tables-restore', args: ['--version'], packages: 'iptables' },
    { name: 'ipset', args: ['list', '-name'], packages: 'ipset' },
  ],
} as const

/** ipset has to find itself in the kernel, too. */
export async function checkPrograms(proxyMode: ProxyMode): Promise<readonly Check[]> {
  return Promise.all(
    programs[proxyMode].map(async ({ name, args, packages }) => {
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

/** Which of our rules the kernel takes. */
export function checkRules(proxyMode: ProxyMode, families: readonly IpFamily[], options: RulesetOptions) {
  return proxyMode === 'nftables' ? checkRuleset(families, options) : checkIptables(families, options)
}

/** The whole of our fixed rules, in a table of another name, in a batch that is never committed: TPROXY, maps, all hooks. */
async function checkRuleset(families: readonly IpFamily[], options: RulesetOptions): Promise<readonly Check[]> {
  return withNftables(undefined, nft => Promise.all(families.map(family => checkFamily(nft, family, options))))
}

async function checkFamily(nft: Nftables, ipFamily: IpFamily, options: RulesetOptions): Promise<Check> {
  const name = `nftables, ${ipFamily}`
  const family = familyNames[ipFamily]
  const sample = chooserChain(chooserName({ transport: 'tcp', count: 2 }))!
  const { chains, ...part } = fixedPart(family, options)
  const table = { family, name: `${tableName}-preflight` }
  try {
    await nft.check([{ ...part, table, chains: [...chains, sample] }])
    return ok(name, 'the kernel takes our rules: TPROXY, maps, NAT')
  } catch (error) {
    const { failure, message } = error as CommandError
    if (failure === 'permission') return fails(name, message, 'run as root')
    return fails(
      name,
      `the kernel refuses our rules: ${message}`,
      'use a kernel with nft_tproxy, nft_nat, nft_numgen and nf_tables',
    )
  }
}

const nothing: SavedRules = { chains: new Map(), jumps: new Map(), ports: new Map() }

/** The same by `iptables-restore --test`, without the matches of sets that only an agent makes. */
async function checkIptables(families: readonly IpFamily[], options: RulesetOptions): Promise<readonly Check[]> {
  return Promise.all(
    families.map(async ipFamily => {
      const name = `iptables, ${ipFamily}`
      const family = familyNames[ipFamily]
      const rules = renderFixedPart(family, nothing, options).replace(/-m set (! )?--match-set \S+ \S+ /g, '')
      try {
        await new IptablesPrograms().test(family, rules)
        return ok(name, 'iptables takes our rules: TPROXY, CONNMARK, NAT')
      } catch (error) {
        const { failure, message } = error as CommandError
        if (failure === 'permission') return fails(name, message, 'run as root')
        return fails(name, `iptables refuses our rules: ${message}`, 'modprobe ip_tables ip6_tables xt_TPROXY xt_set')
      }
    }),
  )
}
