/** The rules where kube-proxy's own begin: without one of these it does not do what its maps say. */

import type { Clause, Clauses } from '../kernel/nftables/clauses/clause.ts'
import type { NftTable } from '../kernel/nftables/snapshot.ts'
import { isNewConnection, isVerdict, setOfAddress } from './clauses.ts'

type IsClause = (clause: Clause) => boolean

const jumps = (chain: string) => (clause: Clause) => isVerdict(clause, 'jump', chain)
const refuses: IsClause = ({ kind }) => kind === 'reject'
const setsMark: IsClause = ({ kind }) => kind === 'set mark'
const masquerades: IsClause = ({ kind }) => kind === 'masquerade'
const asksFor = (set: string) => (clause: Clause) => clause.kind === 'lookup' && clause.set === set && !clause.isNot
const follows = (map: string) => (clause: Clause) => clause.kind === 'verdict map' && clause.map === map

/** How a rule of the chain ends. */
const entrances: readonly (readonly [chain: string, ...clauses: readonly IsClause[]])[] = [
  ['nat-prerouting', jumps('services')],
  ['nat-output', jumps('services')],
  ['nat-postrouting', jumps('masquerading')],
  ['filter-prerouting-pre-dnat', isNewConnection, jumps('firewall-check')],
  ['filter-output-pre-dnat', isNewConnection, jumps('firewall-check')],
  ['filter-input', isNewConnection, jumps('nodeport-endpoints-check')],
  ...['filter-input', 'filter-forward', 'filter-output'].map(
    chain => [chain, isNewConnection, jumps('service-endpoints-check')] as const,
  ),
  ...['filter-forward', 'filter-output'].map(chain => [chain, isNewConnection, jumps('cluster-ips-check')] as const),
  ['cluster-ips-check', clause => setOfAddress(clause, 'daddr') === 'cluster-ips', refuses],
  ['services', follows('service-ips')],
  ['services', follows('service-nodeports')],
  ['service-endpoints-check', follows('no-endpoint-services')],
  ['nodeport-endpoints-check', follows('no-endpoint-nodeports')],
  ['firewall-check', follows('firewall-ips')],
  ['masquerading', setsMark, masquerades],
  ['masquerading', asksFor('hairpin-connections'), masquerades],
]

/**
 * Lists the chains that lack a rule without which kube-proxy does not serve; none where all is as kube-proxy makes it.
 */
export function missingEntrances({ chains }: NftTable): readonly string[] {
  const lacking = entrances.filter(([chain, ...end]) => !chains.get(chain)?.rules.some(rule => endsWith(rule, end)))
  return [...new Set(lacking.map(([chain]) => chain))]
}

/** Whether a rule ends so. A jump is the whole of its rule: any other condition would keep connections from it. */
function endsWith(rule: Clauses, end: readonly IsClause[]): boolean {
  const last = rule.slice(-end.length)
  const isWhole = last.length === rule.length || last.at(-1)?.kind !== 'verdict'
  return isWhole && last.length === end.length && last.every((clause, index) => end[index]!(clause))
}
