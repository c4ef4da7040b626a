/**
 * What Lightpath has in the kernel, as ways in: its nftables table read without its own planning, so that both can be
 * compared. The meaning of its maps and sets is in kernel/external.ts, kernel/affinity.ts and kernel/ruleset.ts.
 */

import type { NftTable } from '../kernel/nftables/snapshot.ts'
import { nameOfText } from '../kernel/ownobjects.ts'
import { canonicalIp, hostPort, type IpFamily, type Protocol } from '../services/address.ts'
import { parseNftDuration } from './duration.ts'
import { protocols } from './protocols.ts'
import { mergeRanges } from './ranges.ts'
import { type Client, keyOfPlace, type Place, type Way, type Ways } from './ways.ts'

interface Target {
  readonly endpoints: readonly string[]
  readonly affinitySeconds: number | undefined
  readonly oddities: readonly string[]
}

const nothing: Target = { endpoints: [], affinitySeconds: undefined, oddities: [] }

export function readLightpath(table: NftTable, family: IpFamily): Ways {
  return new Reader(table, family).ways()
}

class Reader {
  readonly #table: NftTable
  readonly #family: IpFamily
  readonly #hairpin: ReadonlySet<string>
  /** By place: `10.0.0.1 . tcp . 80`. */
  readonly #sources = new Map<string, readonly string[]>()
  /** Of whom local-policy asks for all endpoints. */
  readonly #shortCircuited: readonly Client[]

  constructor(table: NftTable, family: IpFamily) {
    this.#table = table
    this.#family = family
    this.#hairpin = new Set([...this.#elements('hairpin').keys()].map(key => canonicalIp(key.split(' . ')[0]!)!))
    for (const key of this.#elements('source-checks').keys()) {
      this.#sources.set(key, [...this.#elements(nameOfText('ranges', key)).keys()])
    }
    this.#shortCircuited = (['node', 'pods'] as const).filter(client => this.#isShortCircuited(client))
  }

  ways(): Ways {
    const keys = new Set(['services', 'no-endpoints', 'source-checks'].flatMap(set => [...this.#elements(set).keys()]))
    const ways = [...keys].map(key => this.#way(key))
    return new Map(ways.map(way => [keyOfPlace(way.place), way]))
  }

  #way(key: string): Way {
    const place = placeOf(key, this.#family)
    const verdict = (map: string) => this.#elements(map).get(key)
    const clusterIPs = this.#elements('cluster-ips')
    const [external, refusal] = [verdict('external'), verdict('no-endpoints')]
    const all = this.#target(key, place, verdict('services'), 0)
    const isLocal = external?.startsWith('goto local-policy') === true
    const local = isLocal ? this.#target(key, place, verdict('local-services'), localSlots) : all
    const endpoints = isLocal ? this.#byClient(all.endpoints, local.endpoints) : this.#byClient(all.endpoints)
    const reached = [...new Set(Object.values(endpoints).flat())]
    return {
      place,
      service: '',
      port: String(place.port),
      endpoints,
      otherwise: isLocal && verdict('local-services') === 'drop' ? 'drop' : refusalOf(refusal),
      affinitySeconds: (all.endpoints.length > 0 ? all : local).affinitySeconds,
      masquerade: external === 'jump mark-masquerade' ? 'everybody' : isLocal ? 'node' : 'nobody',
      hairpin: reached.filter(endpoint => this.#hairpin.has(addressOf(endpoint))).sort(),
      sources: this.#elements('source-checks').has(key) ? mergeRanges(this.#sources.get(key) ?? []) : undefined,
      // Where not all cluster IPs are ours, none is among them.
      isClusterIP: clusterIPs.size === 0 ? undefined : clusterIPs.has(key.split(' . ')[0]!),
      oddities: [...new Set([...all.oddities, ...local.oddities])],
    }
  }

  #isShortCircuited(client: 'node' | 'pods'): boolean {
    const toAll = (this.#table.chains.get('local-policy') ?? []).filter(rule => rule.endsWith('vmap @services'))
    const isOfNode = (rule: string) => rule.startsWith('fib saddr type local ')
    const nobody = (rule: string) => {
      const [, set] = / saddr @(\S+) /.exec(rule) ?? []
      return set !== undefined && this.#elements(set).size === 0
    }
    return toAll.some(rule => isOfNode(rule) === (client === 'node') && !nobody(rule))
  }

  #byClient(all: readonly string[], outside = all): Way['endpoints'] {
    const of = (client: Client) => (this.#shortCircuited.includes(client) ? all : outside)
    return { outside, pods: of('pods'), node: of('node') }
  }

  #target(key: string, place: Place, verdict: string | undefined, first: number): Target {
    if (verdict === undefined || verdict === 'drop') return nothing
    const [, count] = /^goto endpoints-(?:tcp|udp|sctp)-(\d+)/.exec(verdict) ?? []
    if (count !== undefined) return this.#slots(key, place, Number(count), first)
    const [, chain] = /^goto (affinity-\S+)$/.exec(verdict) ?? []
    if (chain === undefined) return { ...nothing, oddities: [verdict] }
    return this.#sticky(chain, place.protocol)
  }

  /** `10.0.0.1 . 80 . 0` → `10.1.0.1 . 8080` */
  #slots(key: string, { protocol }: Place, count: number, first: number): Target {
    const [ip, , port] = key.split(' . ')
    const map = this.#elements(`endpoints-${protocol.toLowerCase()}`)
    const values = Array.from({ length: count }, (_, slot) => map.get(`${ip} . ${port} . ${first + slot}`))
    const empty = values.filter(value => value === undefined).length
    return {
      endpoints: values.flatMap(value => (value === undefined ? [] : endpointText(value, ' . '))).sort(),
      affinitySeconds: undefined,
      oddities: empty > 0 ? [`${empty} of ${count} slots are empty`] : [],
    }
  }

  #sticky(chain: string, protocol: Protocol): Target {
    const rules = this.#table.chains.get(chain) ?? []
    const found = { known: [] as string[], fresh: [] as string[], last: [] as string[] }
    const seconds = new Set<number>()
    const oddities: string[] = rules.length === 0 ? [`chain ${chain} is empty or missing`] : []
    for (const rule of rules) {
      const update = /^(ip6? saddr @\S+|numgen random mod \d+ 0) update @\S+ \{ ip6? saddr timeout (\S+) \} (.*)$/.exec(
        rule,
      )
      const [, transport, target] = /^meta l4proto (\S+) dnat (.*)$/.exec(update?.[3] ?? rule) ?? []
      if (target === undefined || protocols[transport!] !== protocol) {
        oddities.push(rule)
        continue
      }
      const which = update ? (update[1]!.startsWith('numgen') ? found.fresh : found.known) : found.last
      if (update) seconds.add(parseNftDuration(update[2]!))
      which.push(...targetsOf(target))
    }
    const [known, ...others] = Object.values(found).map(endpoints => [...endpoints].sort())
    if (others.some(endpoints => String(endpoints) !== String(known)))
      oddities.push('its rules lead to different endpoints')
    if (seconds.size > 1) oddities.push(`affinity of ${[...seconds].join(' s, ')} s`)
    return { endpoints: known!, affinitySeconds: [...seconds][0], oddities }
  }

  #elements(set: string): ReadonlyMap<string, string> {
    return this.#table.sets.get(set)?.elements ?? new Map()
  }
}

/** Where the slots of `local-services` begin. */
const localSlots = 65_536

/** The unspecified address is a node port's. */
function placeOf(key: string, family: IpFamily): Place {
  const [address, protocol, port] = key.split(' . ') as [string, string, string]
  const ip = canonicalIp(address)!
  const isNodePort = ip === '0.0.0.0' || ip === '::'
  return { family, address: isNodePort ? undefined : ip, protocol: protocols[protocol]!, port: Number(port) }
}

function refusalOf(verdict: string | undefined): Way['otherwise'] {
  if (verdict === undefined) return undefined
  return verdict === 'drop' ? 'drop' : 'reject'
}

/** `to 10.1.0.1:80`, `to [fd00::1]:80`, `ip to numgen random mod 2 map { 0 : 10.1.0.1 . 80, 1 : 10.1.0.2 . 80 }` */
function targetsOf(text: string): readonly string[] {
  const [, elements] = /\{ (.*) \}$/.exec(text) ?? []
  if (elements !== undefined) {
    return elements.split(', ').flatMap(element => endpointText(element.slice(element.indexOf(' : ') + 3), ' . '))
  }
  const [, ip, port] = /to \[?([0-9a-f.:]+?)\]?:(\d+)$/.exec(text) ?? []
  return endpointText(`${ip} ${port}`, ' ')
}

function endpointText(text: string, separator: string): readonly string[] {
  const [ip, port] = text.split(separator) as [string, string]
  return [hostPort(canonicalIp(ip) ?? ip, Number(port))]
}

/** `[fd00::1]:80` → `fd00::1` */
function addressOf(endpoint: string): string {
  return endpoint.slice(0, endpoint.lastIndexOf(':')).replace(/^\[|\]$/g, '')
}
