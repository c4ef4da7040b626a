/**
 * What an upstream kube-proxy in nftables mode has in the kernel, as ways in. Its maps `service-ips` and
 * `service-nodeports` lead to a chain `service-…`, `local-…` or `external-…` of a Service port, which leads to endpoints;
 * `no-endpoint-…` refuse, `firewall-ips` closes load-balancer IPs. Rules of other shapes are kept as oddities, so that what
 * is not understood never passes as equal.
 */

import type { NftTable } from '../kernel/nftables/snapshot.ts'
import { canonicalIp, hostPort, type IpFamily, type Protocol } from '../services/address.ts'
import { protocols } from './protocols.ts'
import { mergeRanges } from './ranges.ts'
import { type Client, keyOfPlace, type Place, type Way, type Ways } from './ways.ts'

interface Target {
  readonly endpoints: readonly string[]
  readonly affinitySeconds: number | undefined
  readonly oddities: readonly string[]
}

interface Routes {
  readonly endpoints: Record<Client, readonly string[]>
  affinitySeconds: number | undefined
  masquerade: Way['masquerade']
  readonly oddities: string[]
}

export function readKubeProxy(table: NftTable, family: IpFamily): Ways {
  return new Reader(table, family).ways()
}

/** Where kube-proxy's own rules begin; without one of them it does not do what its maps say. */
const entrances: readonly (readonly [chain: string, rule: RegExp])[] = [
  ['nat-prerouting', /^jump services$/],
  ['nat-output', /^jump services$/],
  ['nat-postrouting', /^jump masquerading$/],
  ['filter-prerouting-pre-dnat', /^ct state new jump firewall-check$/],
  ['filter-output-pre-dnat', /^ct state new jump firewall-check$/],
  ['filter-input', /^ct state new jump nodeport-endpoints-check$/],
  ...['filter-input', 'filter-forward', 'filter-output'].map(
    chain => [chain, /^ct state new jump service-endpoints-check$/] as const,
  ),
  ...['filter-forward', 'filter-output'].map(chain => [chain, /^ct state new jump cluster-ips-check$/] as const),
  ['cluster-ips-check', /daddr @cluster-ips reject/],
  ['services', /daddr \. meta l4proto \. th dport vmap @service-ips$/],
  ['services', /vmap @service-nodeports$/],
  ['service-endpoints-check', /vmap @no-endpoint-services$/],
  ['nodeport-endpoints-check', /vmap @no-endpoint-nodeports$/],
  ['firewall-check', /vmap @firewall-ips$/],
  ['masquerading', /masquerade/],
  ['masquerading', /@hairpin-connections masquerade/],
]

/** The chains that lack a rule without which kube-proxy does not serve; none where all is as kube-proxy makes it. */
export function missingEntrances({ chains }: NftTable): readonly string[] {
  const lacking = entrances.filter(([chain, rule]) => !chains.get(chain)?.some(text => rule.test(text)))
  return [...new Set(lacking.map(([chain]) => chain))]
}

class Reader {
  readonly #table: NftTable
  readonly #family: IpFamily
  readonly #hairpin: ReadonlySet<string>
  readonly #clusterIPs: ReadonlySet<string>

  constructor(table: NftTable, family: IpFamily) {
    this.#table = table
    this.#family = family
    this.#hairpin = new Set([...this.#elements('hairpin-connections').keys()].map(hairpinOf))
    const clusterIPs = [...this.#elements('cluster-ips').keys()]
    this.#clusterIPs = new Set(clusterIPs.map(ip => canonicalIp(ip) ?? ip))
  }

  ways(): Ways {
    const places = ['service-ips', 'service-nodeports', 'no-endpoint-services', 'no-endpoint-nodeports', 'firewall-ips']
    const keys = new Set(places.flatMap(set => [...this.#elements(set).keys()]))
    return new Map(
      [...keys].map(key => {
        const way = this.#way(key)
        return [keyOfPlace(way.place), way]
      }),
    )
  }

  #way(key: string): Way {
    const place = placeOf(key, this.#family)
    const [served, refused] =
      place.address === undefined
        ? ['service-nodeports', 'no-endpoint-nodeports']
        : ['service-ips', 'no-endpoint-services']
    const verdict = this.#elements(served!).get(key)
    const refusal = this.#elements(refused!).get(key)
    const firewall = this.#elements('firewall-ips').get(key)
    const routes = this.#routes(verdict, place.protocol)
    const sources = firewall === undefined ? undefined : this.#sources(firewall, routes.oddities)
    const reached = new Set(Object.values(routes.endpoints).flat())
    return {
      place,
      ...this.#owner(verdict ?? firewall, this.#table.sets.get(refused!)?.comments.get(key), place),
      endpoints: routes.endpoints,
      otherwise: refusal === undefined ? undefined : this.#refusal(refusal, routes.oddities),
      affinitySeconds: routes.affinitySeconds,
      masquerade: routes.masquerade,
      hairpin: [...reached].filter(endpoint => this.#hairpin.has(`${endpoint}/${place.protocol}`)).sort(),
      sources,
      isClusterIP: place.address !== undefined && this.#clusterIPs.has(place.address),
      oddities: routes.oddities,
    }
  }

  /** By the name of a chain, `service-ABCDEFGH-namespace/name/tcp/port`, or a comment, `namespace/name:port`. */
  #owner(verdict: string | undefined, comment: string | undefined, { port }: Place): Pick<Way, 'service' | 'port'> {
    const [, service = '', name = ''] =
      /-[A-Z2-7]{8}-([^/]+\/[^/]+)\/[a-z]+\/([^/]*)$/.exec(verdict ?? '') ?? /^([^:]+):?(.*)$/.exec(comment ?? '') ?? []
    return { service, port: name === '' ? String(port) : name }
  }

  #routes(verdict: string | undefined, protocol: Protocol): Routes {
    const endpoints = { outside: [], pods: [], node: [] }
    const routes: Routes = { endpoints, affinitySeconds: undefined, masquerade: 'nobody', oddities: [] }
    if (verdict === undefined) return routes
    const chain = targetOf(verdict)
    if (chain?.startsWith('external-')) this.#followExternal(chain, protocol, routes)
    else if (chain !== undefined) this.#lead(['outside', 'pods', 'node'], chain, protocol, routes)
    else routes.oddities.push(verdict)
    return routes
  }

  /** The rules before the last are for clients inside of the cluster; what falls through them comes from outside. */
  #followExternal(chain: string, protocol: Protocol, routes: Routes): void {
    let left: readonly Client[] = ['outside', 'pods', 'node']
    for (const rule of this.#rules(chain, routes.oddities)) {
      const [, condition = '', action = ''] = /^(.*?) ?(meta mark set .*|goto \S+)$/.exec(rule) ?? []
      const who = clientsOf(condition, left)
      if (who === undefined || action === '') routes.oddities.push(rule)
      else if (action.startsWith('goto ')) {
        this.#lead(who, action.slice('goto '.length), protocol, routes)
        left = left.filter(client => !who.includes(client))
      } else routes.masquerade = condition === '' ? 'everybody' : 'node'
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
      const affinity = /^ip6? saddr @(affinity-\S+) goto (\S+)$/.exec(rule)
      const vmap = /^numgen random mod (\d+) vmap \{ (.*) \}$/.exec(rule)
      const direct = /^meta l4proto (\S+) (dnat .*)$/.exec(rule)
      if (affinity) affinities.set(affinity[2]!, this.#table.sets.get(affinity[1]!)?.timeoutSeconds ?? 0)
      else if (vmap) choices.push(...slotsOf(vmap[1]!, vmap[2]!, oddities).map(value => targetOf(value) ?? value))
      else if (direct && protocols[direct[1]!] === protocol) endpoints.push(...translationsOf(direct[2]!, oddities))
      else oddities.push(rule)
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
    const isUpdate = /^update @affinity-\S+ \{ ip6? saddr \}$/.test(rules[0] ?? '')
    if (sticky && !isUpdate) oddities.push(`${chain} does not remember its clients`)
    return rules.slice(isUpdate ? 1 : 0).flatMap(rule => {
      const direct = /^meta l4proto (\S+) (dnat .*)$/.exec(rule)
      if (direct && protocols[direct[1]!] === protocol) return translationsOf(direct[2]!, oddities)
      oddities.push(rule)
      return []
    })
  }

  #sources(firewall: string, oddities: string[]): readonly string[] | undefined {
    const chain = targetOf(firewall)
    const rules = chain === undefined ? [firewall] : this.#rules(chain, oddities)
    const ranges = rules.map(rule => /^ip6? saddr != (?:\{ (.*) \}|(\S+)) drop$/.exec(rule))
    const [range] = ranges
    if (range && ranges.length === 1) return mergeRanges((range[1] ?? range[2]!).split(', '))
    oddities.push(...rules)
    return undefined
  }

  #refusal(verdict: string, oddities: string[]): Way['otherwise'] {
    if (verdict === 'drop') return 'drop'
    if (verdict === 'goto reject-chain' && this.#table.chains.get('reject-chain')?.[0]?.startsWith('reject'))
      return 'reject'
    oddities.push(verdict)
    return undefined
  }

  #rules(chain: string, oddities: string[]): readonly string[] {
    const rules = this.#table.chains.get(chain)
    if (rules === undefined || rules.length === 0) oddities.push(`chain ${chain} is ${rules ? 'empty' : 'missing'}`)
    return rules ?? []
  }

  #elements(set: string): ReadonlyMap<string, string> {
    return this.#table.sets.get(set)?.elements ?? new Map()
  }
}

/** `10.0.0.1 . tcp . 80`, or `tcp . 30080` */
function placeOf(key: string, family: IpFamily): Place {
  const [port, protocol, address] = key.split(' . ').reverse() as [string, string, string?]
  const ip = address === undefined ? undefined : (canonicalIp(address) ?? address)
  return { family, address: ip, protocol: protocols[protocol]!, port: Number(port) }
}

/** `10.1.0.1 . 10.1.0.1 . tcp . 8080` → `10.1.0.1:8080/TCP` */
function hairpinOf(key: string): string {
  const [source, destination, protocol, port] = key.split(' . ') as [string, string, string, string]
  return source === destination ? `${endpointText(destination, port)}/${protocols[protocol]}` : key
}

/** The chain that a verdict goes to. */
function targetOf(verdict: string): string | undefined {
  return /^goto (\S+)$/.exec(verdict)?.[1]
}

/** Those of `left` that a condition of an external chain is about; undefined where it is none of kube-proxy's. */
function clientsOf(condition: string, left: readonly Client[]): readonly Client[] | undefined {
  if (condition === '') return left
  if (condition === 'fib saddr type local') return left.filter(client => client === 'node')
  return /^(ip6? saddr|iifname|iif) /.test(condition) ? left.filter(client => client === 'pods') : undefined
}

/** `10.1.0.1:80`, `[fd00::1]:80`, or `numgen random mod 2 map { 0 : 10.1.0.1 . 80, 1 : 10.1.0.2 . 80 }` after `dnat ip to` */
function translationsOf(dnat: string, oddities: string[]): readonly string[] {
  const one = /^dnat (?:ip6? )?to \[?([0-9a-f.:]+?)\]?:(\d+)$/.exec(dnat)
  if (one) return [endpointText(one[1]!, one[2]!)]
  const many = /^dnat (?:ip6? )?(?:addr \. port )?to numgen random mod (\d+) map \{ (.*) \}$/.exec(dnat)
  if (!many) {
    oddities.push(dnat)
    return []
  }
  return slotsOf(many[1]!, many[2]!, oddities).map(value => {
    const [ip, port] = value.split(' . ') as [string, string]
    return endpointText(ip, port)
  })
}

/** The values of `0 : …, 1 : …`, of which the kernel chooses one of `mod`. */
function slotsOf(mod: string, text: string, oddities: string[]): readonly string[] {
  const slots = text.split(', ').map(slot => slot.split(' : ') as [string, string])
  const isComplete = slots.length === Number(mod) && slots.every(([slot]) => Number(slot) < slots.length)
  if (!isComplete) oddities.push(`${mod} slots, of which ${slots.length} are filled`)
  return slots.map(([, value]) => value)
}

function endpointText(ip: string, port: string): string {
  return hostPort(canonicalIp(ip) ?? ip, Number(port))
}
