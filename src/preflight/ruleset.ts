/** Checks what others have in nftables: firewalls, kube-proxy, and marks that are ours. */

import { printRule } from '../kernel/nftables/clauses/print.ts'
import { withNftables } from '../kernel/nftables/client.ts'
import { type BlockingChains, blockingChains, foreign, tableTitle } from '../kernel/nftables/foreign.ts'
import { usesMark } from '../kernel/nftables/rules/marks.ts'
import { type Ruleset, tableFamilies } from '../kernel/nftables/wire/dump.ts'
import type { ServiceScope } from '../plan/ports/scope.ts'
import { someOf } from '../text/some.ts'
import { type Check, fails, ok, warning } from './check.ts'

export interface ForeignRules extends BlockingChains {
  /** `ip kube-proxy`, without ours. */
  readonly tables: ReadonlySet<string>
  readonly chains: ReadonlySet<string>
  /** Rules that test or set a bit of ours, with their table and chain. */
  readonly marks: readonly string[]
}

/** Reads all of nf_tables on this node, without ours. */
export async function readForeignRules(bits: number): Promise<ForeignRules> {
  return withNftables(undefined, async nft => {
    const found: Ruleset[] = []
    for (const family of Object.values(tableFamilies)) found.push(await nft.ruleset(family))
    return foreignRules(found, bits)
  })
}

export function foreignRules(rulesets: readonly Ruleset[], bits: number): ForeignRules {
  const chains = foreign(rulesets, ruleset => ruleset.chains)
  const tables = foreign(rulesets, ({ tables }) => tables.map(table => ({ table })))
  const marking = foreign(rulesets, ruleset => ruleset.rules).filter(({ expressions }) => usesMark(expressions, bits))
  return {
    ...blockingChains(rulesets),
    tables: new Set(tables.map(tableTitle)),
    chains: new Set(chains.map(({ name }) => name)),
    marks: marking.map(rule => {
      const text = printRule(rule.family === tableFamilies.ip6 ? 'ip6' : 'ip', rule.expressions)
      return `${tableTitle(rule)} ${rule.chain}: ${text.slice(0, 100)}`
    }),
  }
}

/** @param bits ours, in words */
export function checkForeignRules(rules: ForeignRules, bits: string, scope: ServiceScope): readonly Check[] {
  const { tables, chains, marks } = rules
  return [checkFirewall(rules), checkMarks(marks, bits), checkKubeProxy(tables, chains, scope)]
}

function checkFirewall({ dropping, droppingBefore, tables, chains }: ForeignRules): Check {
  const names = [
    ...(tables.has('inet firewalld') ? ['firewalld'] : []),
    ...([...chains].some(chain => chain.startsWith('ufw')) ? ['ufw'] : []),
    ...(chains.has('cali-INPUT')
      ? ['Calico (drops what pods send to the host, unless defaultEndpointToHostAction is Accept)']
      : []),
    ...(dropping.length > 0 ? [`policy drop in ${someOf(dropping)}`] : []),
    ...(droppingBefore.length > 0 ? [`rules that drop before ours in ${someOf(droppingBefore)}`] : []),
  ]
  if (names.length === 0) return ok('firewall', 'none found that drops at input or forward')
  const remedy =
    'accept packets with the steering mark at input; where pods do not reach Envoy, the agent leaves the node in the kernel layer and says so'
  return warning('firewall', names.join('; '), remedy)
}

function checkMarks(marks: readonly string[], bits: string): Check {
  if (marks.length === 0) return ok('marks in rules', `nobody else uses ${bits}`)
  return fails(
    'marks in rules',
    `others use ${bits}: ${someOf(marks)}`,
    'choose other bits: --steering-mark, --envoy-mark',
  )
}

/**
 * Checks for kube-proxy: with --services=all the agent is the only proxy; beside a kube-proxy it serves labelled
 * Services.
 */
function checkKubeProxy(tables: ReadonlySet<string>, chains: ReadonlySet<string>, scope: ServiceScope): Check {
  const isNftables = tables.has('ip kube-proxy') || tables.has('ip6 kube-proxy')
  const found = isNftables ? 'runs in mode nftables' : 'runs in mode iptables or ipvs'
  const name = 'kube-proxy'
  if (!isNftables && !chains.has('KUBE-SERVICES')) return ok(name, 'no rules of it')
  if (scope === 'labelled') return ok(name, `${found}, beside us (--services=labelled)`)
  return warning(name, found, 'beside it use --services=labelled; with --services=all remove it')
}
