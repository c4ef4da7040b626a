/**
 * Reads the frontends that an upstream kube-proxy in nftables mode has in the kernel. Its maps `service-ips` and
 * `service-nodeports` lead to a chain `service-…`, `local-…` or `external-…` of a Service port, which leads to
 * endpoints; `no-endpoint-…` refuse, `firewall-ips` closes load-balancer IPs. Rules of other shapes are kept as
 * oddities, so that what is not understood never passes as equal.
 */

import { type Bytes, verdictOf } from '../kernel/nftables/bytes.ts'
import type { Clauses } from '../kernel/nftables/clauses/clause.ts'
import { printClauses } from '../kernel/nftables/clauses/print.ts'
import { verdictText } from '../kernel/nftables/clauses/words.ts'
import { keyParts } from '../kernel/nftables/elements/values.ts'
import { type VerdictData, verdictCodes } from '../kernel/nftables/rules/expression.ts'
import type { NftTable } from '../kernel/nftables/snapshot.ts'
import type { Part } from '../kernel/nftables/wire/types.ts'
import { hostPort, type IpFamily, type Protocol } from '../net/address.ts'
import {
  endpointsOf,
  gotoIn,
  gotoOf,
  isFromNode,
  isKey,
  isVerdict,
  keysOf,
  rangesAskedFor,
  rangesOf,
  setOfAddress,
  slotsOf,
} from './clauses.ts'
import { type Client, type Destination, type Frontend, type Frontends, keyOfDestination } from './frontends.ts'
import { protocols } from './protocols.ts'
import { mergeRanges } from './ranges.ts'

interface Target {
  readonly endpoints: readonly string[]
  readonly affinitySeconds: number | undefined
  readonly oddities: readonly string[]
}

interface Routes {
  readonly endpoints: Record<Client, readonly string[]>
  affinitySeconds: number | undefined
  masquerade: Frontend['masquerade']
  readonly oddities: string[]
}

export function readKubeProxy(table: NftTable, family: IpFamily): Frontends {
  return new Reader(table, family).frontends()
}

/** The maps and sets whose keys are the frontends that kube-proxy serves. */
const destinationSets = [
  'service-ips',
  'service-nodeports',
  'no-endpoint-services',
  'no-endpoint-nodeports',
  'firewall-ips',
]

class Reader {
  readonly #table: NftTable
  readonly #family: IpFamily
  readonly #hairpin: ReadonlySet<string>
  readonly #clusterIPs: ReadonlySet<string>

  constructor(table: NftTable, family: IpFamily) {
    this.#table = table
    this.#family = family
    this.#hairpin = new Set(keysOf(table.sets.get('hairpin-connections')).flatMap(hairpinOf))
    this.#clusterIPs = new Set(rangesOf(table.sets.get('cluster-ips')))
  }

  frontends(): Frontends {
    const destinations = new Map<Bytes, Destination>()
    for (const name of destinationSets) {
      const { types, elements } = this.#table.sets.get(name) ?? {}
      for (const key of elements?.keys() ?? [])
        destinations.set(key, destinationOf(keyParts(types!, key), this.#family))
    }
    return new Map(
      [...destinations].map(([key, destination]) => [keyOfDestination(destination), this.#frontend(key, destination)]),
    )
  }

  #frontend(key: Bytes, destination: Destination): Frontend {
    const [served, refused] =
      destination.address === undefined
        ? (['service-nodeports', 'no-endpoint-nodeports'] as const)
        : (['service-ips', 'no-endpoint-services'] as const)
    const verdict = this.#verdict(served, key)
    const refusal = this.#verdict(refused, key)
    const firewall = this.#verdict('firewall-ips', key)
    const routes = this.#routes(verdict, destination.protocol)
    const sources = firewall && this.#sources(firewall, routes.oddities)
    const reached = new Set(Object.values(routes.endpoints).flat())
    return {
      destination,
      ...this.#owner(gotoOf(verdict ?? firewall), this.#table.sets.get(refused)?.comments.get(key), destination),
      endpoints: routes.endpoints,
      otherwise: refusal && this.#refusal(refusal, routes.oddities),
      affinitySeconds: routes.affinitySeconds,
      masquerade: routes.masquerade,
      hairpin: [...reached].filter(endpoint => this.#hairpin.has(`${endpoint}/${destination.protocol}`)).sort(),
      sources,
      isClusterIP: destination.address !== undefined && this.#clusterIPs.has(destination.address),
      oddities: routes.oddities,
    }
  }

  /** Names the owner by a chain, `service-ABCDEFGH-namespace/name/tcp/port`, or a comment, `namespace/name:port`. */
  #owner(
    chain: string | undefined,
    comment: string | undefined,
    { port }: Destination,
  ): Pick<Frontend, 'service' | 'port'> {
    const [, service = '', name = ''] =
      /-[A-Z2-7]{8}-([^/]+\/[^/]+)\/[a-z]+\/([^/]*)$/.exec(chain ?? '') ?? /^([^:]+):?(.*)$/.exec(comment ?? '') ?? []
    return { service, port: name === '' ? String(port) : name }
  }

  #routes(verdict: VerdictData | undefined, protocol: Protocol): Routes {
    const endpoints = { external: [], pods: [], node: [] }
    const routes: Routes = { endpoints, affinitySeconds: undefined, masquerade: 'nobody', oddities: [] }
    if (verdict === undefined) return routes
    const chain = gotoOf(verdict)
    if (chain?.startsWith('external-')) this.#followExternal(chain, protocol, routes)
    else if (chain !== undefined) this.#lead(['external', 'pods', 'node'], chain, protocol, routes)
    else routes.oddities.push(verdictText(verdict))
    return routes
  }

  /**
   * Follows a chain whose rules before the last are for clients inside of the cluster; external clients fall through
   * them.
   */
  #followExternal(chain: string, protocol: Protocol, routes: Routes): void {
    let left: readonly Client[] = ['external', 'pods', 'node']
    for (const rule of this.#rules(chain, routes.oddities)) {
      const [conditions, action] = [rule.slice(0, -1), rule.at(-1)!]
      const who = clientsOf(conditions, left)
      const next = gotoIn(action)
      if (who !== undefined && next !== undefined) {
        this.#lead(who, next, protocol, routes)
        left = left.filter(client => !who.includes(client))
      } else if (who !== undefined && action.kind === 'set mark' && action.of === 'meta') {
        routes.masquerade = conditions.length === 0 ? 'everybody' : 'node'
      } else routes.oddities.push(this.#text(rule))
    }
  }

  #lead(clients: readonly Client[], chain: string, protocol: Protocol, routes: Routes): void {
    const target = this.#target(chain, protocol)
    for (const client of clients) routes.endpoints[client] = target.endpoints
    routes.oddities.push(...target.oddities.filter(oddity => !routes.oddities.includes(oddity)))
    routes.affinitySeconds = target.affinitySeconds
  }

  #target(chain: string, protocol: Protocol): Target {
    const oddities: string[] = []
    const endpoints: string[] = []
    const affinities = new Map<string, number>()
    const choices: string[] = []
    for (const rule of this.#rules(chain, oddities)) {
      const affinity = affinityOf(rule)
      const chosen = chainsOf(rule, oddities)
      const direct = endpointsOf(rule, protocol, oddities)
      if (affinity) affinities.set(affinity.chain, this.#table.sets.get(affinity.set)?.timeoutSeconds ?? 0)
      else if (chosen) choices.push(...chosen)
      else if (direct) endpoints.push(...direct)
      else oddities.push(this.#text(rule))
    }
    for (const choice of choices)
      endpoints.push(...this.#endpointChain(choice, protocol, affinities.has(choice), oddities))
    const sticky = [...new Set(affinities.values())]
    if (affinities.size > 0 && choices.some(choice => !affinities.has(choice)))
      oddities.push('affinity to some of the endpoints only')
    if (sticky.length > 1) oddities.push(`affinity of ${sticky.join(' s, ')} s`)
    return { endpoints: endpoints.sort(), affinitySeconds: sticky[0], oddities }
  }

  #endpointChain(chain: string, protocol: Protocol, sticky: boolean, oddities: string[]): readonly string[] {
    const rules = this.#rules(chain, oddities)
    const remembers = rules[0] !== undefined && isRemembering(rules[0])
    if (sticky && !remembers) oddities.push(`${chain} does not remember its clients`)
    return rules.slice(remembers ? 1 : 0).flatMap(rule => {
      const direct = endpointsOf(rule, protocol, oddities)
      if (!direct) oddities.push(this.#text(rule))
      return direct ?? []
    })
  }

  #sources(firewall: VerdictData, oddities: string[]): readonly string[] | undefined {
    const chain = gotoOf(firewall)
    if (chain === undefined) {
      oddities.push(verdictText(firewall))
      return undefined
    }
    const rules = this.#rules(chain, oddities)
    const [[others, action, ...more] = [], ...moreRules] = rules
    const ranges = rangesAskedFor(others, 'saddr', true)
    if (ranges && isVerdict(action, 'drop') && more.length === 0 && moreRules.length === 0) return mergeRanges(ranges)
    oddities.push(...rules.map(rule => this.#text(rule)))
    return undefined
  }

  #refusal(verdict: VerdictData, oddities: string[]): Frontend['otherwise'] {
    if (verdict.code === verdictCodes.drop) return 'drop'
    const isReject = this.#table.chains.get('reject-chain')?.rules[0]?.[0]?.kind === 'reject'
    if (gotoOf(verdict) === 'reject-chain' && isReject) return 'reject'
    oddities.push(verdictText(verdict))
    return undefined
  }

  #rules(chain: string, oddities: string[]): readonly Clauses[] {
    const rules = this.#table.chains.get(chain)?.rules
    if (rules === undefined || rules.length === 0) oddities.push(`chain ${chain} is ${rules ? 'empty' : 'missing'}`)
    return rules ?? []
  }

  #verdict(map: string, key: Bytes): VerdictData | undefined {
    const value = this.#table.sets.get(map)?.elements.get(key)
    return value === undefined ? undefined : verdictOf(value)
  }

  #text(rule: Clauses): string {
    return printClauses(this.#table.family, rule)
  }
}

/** `10.0.0.1 . tcp . 80`, or `tcp . 30080` */
function destinationOf(key: readonly Part[], family: IpFamily): Destination {
  const [port, protocol, address] = key.toReversed() as [number, number, string?]
  return { family, address, protocol: protocols[protocol]!, port }
}

/** `10.1.0.1 . 10.1.0.1 . tcp . 8080` → `10.1.0.1:8080/TCP` */
function hairpinOf(key: readonly Part[]): readonly string[] {
  const [source, destination, protocol, port] = key as [string, string, number, number]
  return source === destination ? [`${hostPort(destination, port)}/${protocols[protocol]}`] : []
}

/**
 * Returns those of `left` that the conditions of an external chain match; undefined where they are none of
 * kube-proxy's.
 */
function clientsOf([condition, ...more]: Clauses, left: readonly Client[]): readonly Client[] | undefined {
  if (condition === undefined) return left
  if (more.length > 0) return undefined
  if (isFromNode(condition)) return left.filter(client => client === 'node')
  const isOfPods = condition.kind === 'compare' && ['saddr', 'iifname', 'iif'].includes(condition.field.name)
  return isOfPods && condition.op === 'eq' ? left.filter(client => client === 'pods') : undefined
}

/** `ip saddr @affinity-… goto …` */
function affinityOf([client, action, ...more]: Clauses) {
  const [set, chain] = [setOfAddress(client, 'saddr'), gotoIn(action)]
  if (typeof set !== 'string' || !set.startsWith('affinity-') || chain === undefined || more.length > 0)
    return undefined
  return { set, chain }
}

/** `numgen random mod 2 vmap { 0 : goto …, 1 : goto … }`; a value that is no such verdict is the name of no chain. */
function chainsOf([choice, ...more]: Clauses, oddities: string[]): readonly string[] | undefined {
  if (choice?.kind !== 'verdict map' || more.length > 0) return undefined
  return slotsOf(choice.key, choice.map, oddities)?.map(
    value => gotoOf(verdictOf(value)) ?? verdictText(verdictOf(value)),
  )
}

/** `update @affinity-… { ip saddr }` */
function isRemembering([update, ...more]: Clauses): boolean {
  if (update?.kind !== 'update' || more.length > 0) return false
  const { do: verb, set, key, timeoutMs } = update
  return verb === 'update' && set.startsWith('affinity-') && isKey(key, 'saddr') && timeoutMs === undefined
}
