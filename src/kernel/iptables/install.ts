/** Installs the fixed part, and removes all of it. */

import type { Family } from '../family.ts'
import type { RulesetOptions } from '../options.ts'
import { fixedChains, servicesChain, type TableName, tables } from './chains.ts'
import type { IptablesPrograms } from './programs.ts'
import type { SavedRules } from './saved.ts'

/**
 * Renders text for `iptables-restore --noflush` that makes what is missing of the fixed part and writes its chains
 * anew; chains of Service ports stay.
 */
export function renderFixedPart(family: Family, saved: SavedRules, options: RulesetOptions): string {
  const chains = fixedChains(family, options)
  return tables
    .map(table => {
      const own = chains.filter(chain => chain.table === table)
      const jumps = saved.jumps.get(table) ?? []
      const isThere = saved.chains.get(table)?.has(servicesChain)
      const lines = [
        ...(table === 'nat' && !isThere ? [`:${servicesChain} - [0:0]`] : []),
        // Naming a chain empties it.
        ...own.map(({ name }) => `:${name} - [0:0]`),
        ...own.flatMap(({ name, rules }) => rules.map(rule => `-A ${name} ${rule}`)),
        ...own.flatMap(({ name, from, isLast }) =>
          from
            .filter(([chain]) => !leads(jumps, chain, name))
            .map(
              ([chain, condition]) =>
                `${isLast ? '-A' : '-I'} ${chain} ${condition === '' ? '' : `${condition} `}-j ${name}`,
            ),
        ),
      ]
      return `*${table}\n${lines.join('\n')}\nCOMMIT\n`
    })
    .join('')
}

/**
 * Finds what somebody else removed of the fixed part, such as `chain LIGHTPATH-PRE of nat`; undefined where all is
 * there.
 */
export function findMissingPart(family: Family, saved: SavedRules, options: RulesetOptions): string | undefined {
  const missing = fixedChains(family, options).find(({ table, name, rules, from }) => {
    const jumps = saved.jumps.get(table) ?? []
    return saved.chains.get(table)?.get(name) !== rules.length || !from.every(([chain]) => leads(jumps, chain, name))
  })
  return missing && `chain ${missing.name} of ${missing.table}, or what leads to it (${family})`
}

function leads(jumps: readonly string[], chain: string, to: string): boolean {
  return jumps.some(jump => jump.startsWith(`${chain} `) && jump.endsWith(`-j ${to}`))
}

/** Removes every chain, rule and set of ours, and returns in words for a user what it removed. */
export async function cleanupIptables(programs: IptablesPrograms): Promise<readonly string[]> {
  const removed: string[] = []
  for (const family of ['ip', 'ip6'] satisfies Family[]) {
    const saved = await programs.saveIfThere(family)
    const text = saved ? renderRemoval(saved) : ''
    await programs.restore(family, text)
    if (text !== '') removed.push(`iptables chains LIGHTPATH-… and LP-… (${family})`)
  }
  const sets = await programs.sets()
  await programs.restoreSets(sets.map(set => `destroy ${set}\n`).join(''))
  if (sets.length > 0) removed.push(`ipsets ${sets.join(', ')}`)
  return removed
}

function renderRemoval({ chains, jumps }: SavedRules): string {
  const part = (table: TableName, own: ReadonlyMap<string, number>) => {
    const lines = [
      ...(jumps.get(table) ?? []).map(jump => `-D ${jump}`),
      ...[...own.keys()].map(name => `-F ${name}`),
      ...[...own.keys()].map(name => `-X ${name}`),
    ]
    return `*${table}\n${lines.join('\n')}\nCOMMIT\n`
  }
  return [...chains]
    .filter(([, own]) => own.size > 0)
    .map(([table, own]) => part(table, own))
    .join('')
}
