/** What others have in nftables: firewalls, kube-proxy, and marks that are ours. */

import { tableName } from '../kernel/ruleset.ts'
import type { ServiceScope } from '../services/layer.ts'
import { type Check, fails, ok, someOf, warning } from './check.ts'

export interface ForeignRules {
  /** `ip filter INPUT` of base chains at input or forward whose policy is drop. */
  readonly dropping: readonly string[]
  /** `ip kube-proxy`, without ours. */
  readonly tables: ReadonlySet<string>
  readonly chains: ReadonlySet<string>
  /** Rules that test or set a bit of ours, with their table and chain. */
  readonly marks: readonly string[]
}

/** Reads what `nft list ruleset` prints, of any size. */
export function foreignRules(bits: number) {
  const dropping: string[] = []
  const tables = new Set<string>()
  const chains = new Set<string>()
  const marks: string[] = []
  let table = ''
  let chain = ''
  let isOurs = false
  const onLine = (line: string) => {
    const text = line.trim()
    const opening = /^(table|chain) (.+) \{/.exec(text)
    if (opening?.[1] === 'table') {
      table = opening[2]!
      isOurs = /^ip6? /.test(table) && table.split(' ')[1]!.startsWith(tableName)
      if (!isOurs) tables.add(table)
      return
    }
    if (isOurs) return
    if (opening) {
      chain = opening[2]!
      chains.add(chain)
    }
    if (/hook (input|forward) .*policy drop;/.test(text)) dropping.push(`${table} ${chain}`)
    else if (usesMark(text, bits)) marks.push(`${table} ${chain}: ${text.slice(0, 100)}`)
  }
  return { onLine, found: (): ForeignRules => ({ dropping, tables, chains, marks }) }
}

/** Bits that a rule sets or asks for; those that it only leaves alone, as in `& 0xffffbfff`, do not count. */
function usesMark(rule: string, bits: number): boolean {
  const values = [
    ...rule.matchAll(/mark (?:!= |== )?(0x[0-9a-f]+)/g),
    ...rule.matchAll(/mark set (0x[0-9a-f]+)/g),
    ...rule.matchAll(/(?:mark|\)) (?:\| |\^ |or |xor )(0x[0-9a-f]+)/g),
    ...rule.matchAll(/mark (?:& |and )0x[0-9a-f]+ (?:== |!= )?(0x[0-9a-f]+)/g),
    ...rule.matchAll(/mark (?:& |and )0x[0-9a-f]+ (?:\^ |xor )(0x[0-9a-f]+)/g),
  ]
  return values.some(([, value]) => (Number(value) & bits) !== 0)
}

/** @param bits ours, in words */
export function checkForeignRules(rules: ForeignRules, bits: string, scope: ServiceScope): readonly Check[] {
  const { dropping, tables, chains, marks } = rules
  return [checkFirewall(dropping, tables, chains), checkMarks(marks, bits), checkKubeProxy(tables, chains, scope)]
}

function checkFirewall(dropping: readonly string[], tables: ReadonlySet<string>, chains: ReadonlySet<string>): Check {
  const names = [
    ...(tables.has('inet firewalld') ? ['firewalld'] : []),
    ...([...chains].some(chain => chain.startsWith('ufw')) ? ['ufw'] : []),
    ...(chains.has('cali-INPUT')
      ? ['Calico (drops what pods send to the host, unless defaultEndpointToHostAction is Accept)']
      : []),
    ...(dropping.length > 0 ? [`policy drop in ${someOf(dropping)}`] : []),
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

/** With --services=all the agent is the only one; beside a kube-proxy it serves labelled Services. */
function checkKubeProxy(tables: ReadonlySet<string>, chains: ReadonlySet<string>, scope: ServiceScope): Check {
  const isNftables = tables.has('ip kube-proxy') || tables.has('ip6 kube-proxy')
  const found = isNftables ? 'runs in mode nftables' : 'runs in mode iptables or ipvs'
  const name = 'kube-proxy'
  if (!isNftables && !chains.has('KUBE-SERVICES')) return ok(name, 'no rules of it')
  if (scope === 'labelled') return ok(name, `${found}, beside us (--services=labelled)`)
  return warning(name, found, 'beside it use --services=labelled; with --services=all remove it')
}
