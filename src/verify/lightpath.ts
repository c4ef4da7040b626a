/**
 * Reads the frontends that Lightpath has in the kernel: its nftables table, read without its own planning, so that both
 * can be compared. The meaning of its maps and sets is in kernel/nftables/elements/external.ts,
 * kernel/nftables/elements/affinity.ts and kernel/nftables/rules/chains.ts.
 */

import { transportOf } from '../kernel/family.ts'
import { addressLengths, type Bytes, verdictOf, wordBytes } from '../kernel/nftables/bytes.ts'
import type { Clause, Clauses } from '../kernel/nftables/clauses/clause.ts'
import { printClauses } from '../kernel/nftables/clauses/print.ts'
import { verdictText } from '../kernel/nftables/clauses/words.ts'
import {
  type LoadBalancingChain,
  localPolicy,
  localSlots,
  markMasquerade,
  parseLoadBalancingChainName,
} from '../kernel/nftables/elements/external.ts'
import { objectName } from '../kernel/nftables/elements/ownobjects.ts'
import { keyParts, typesOf } from '../kernel/nftables/elements/values.ts'
import { type VerdictData, verdictCodes } from '../kernel/nftables/rules/expression.ts'
import { fixedSet } from '../kernel/nftables/sets.ts'
import type { NftTable } from '../kernel/nftables/snapshot.ts'
import type { Part } from '../kernel/nftables/wire/types.ts'
import { type IpFamily, ofHostPort, type Protocol } from '../net/address.ts'
import { anyAddressOf } from '../plan/ports/externaldestinations.ts'
import { endpointsOf, endpointText, gotoOf, isFromNode, isKey, rangesOf, setOfAddress } from './clauses.ts'
import { type Client, type Destination, type Frontend, type Frontends, keyOfDestination } from './frontends.ts'
import { protocols } from './protocols.ts'
import { mergeRanges } from './ranges.ts'

interface Target {
  readonly endpoints: readonly string[]
  readonly affinitySeconds: number | undefined
  readonly oddities: readonly string[]
}

const nothing: Target = { endpoints: [], affinitySeconds: undefined, oddities: [] }

export function readLightpath(table: NftTable, family: IpFamily): Frontends {
  return new Reader(table, family).frontends()
}

class Reader {
  readonly #table: NftTable
  readonly #family: IpFamily
  readonly #hairpin: ReadonlySet<string>
  /** The clients for which local-policy chooses all endpoints. */
  readonly #shortCircuited: readonly Client[]

  constructor(table: NftTable, family: IpFamily) {
    this.#table = table
    this.#family = family
    this.#hairpin = new Set(rangesOf(table.sets.get('hairpin')))
    this.#shortCircuited = (['node', 'pods'] as const).filter(client => this.#isShortCircuited(client))
  }

  frontends(): Frontends {
    const keys = new Set(['services', 'no-endpoints', 'source-checks'].flatMap(set => [...this.#elements(set).keys()]))
    const frontends = [...keys].map(key => this.#frontend(key))
    return new Map(frontends.map(frontend => [keyOfDestination(frontend.destination), frontend]))
  }

  #frontend(key: Bytes): Frontend {
    const table = this.#table
    const destination = destinationOf(keyParts(typesOf(table.family, fixedSet('services')), key), this.#family)
    const verdict = (map: string) => this.#verdict(map, key)
    const clusterIPs = this.#elements('cluster-ips')
    const [external, refusal] = [verdict('external'), verdict('no-endpoints')]
    const all = this.#target(key, destination, verdict('services'), 0)
    const isLocal = localPolicies.some(chain => chain === gotoOf(external))
    const local = isLocal ? this.#target(key, destination, verdict('local-services'), localSlots) : all
    const endpoints = isLocal ? this.#byClient(all.endpoints, local.endpoints) : this.#byClient(all.endpoints)
    const reached = [...new Set(Object.values(endpoints).flat())]
    const isMasqueraded = external?.code === verdictCodes.jump && external.chain === markMasquerade
    return {
      destination,
      service: '',
      port: String(destination.port),
      endpoints,
      otherwise: isLocal && isDrop(verdict('local-services')) ? 'drop' : refusalOf(refusal),
      affinitySeconds: (all.endpoints.length > 0 ? all : local).affinitySeconds,
      masquerade: isMasqueraded ? 'everybody' : isLocal ? 'node' : 'nobody',
      hairpin: reached.filter(endpoint => this.#hairpin.has(ofHostPort(endpoint).ip)).sort(),
      sources: this.#sources(key),
      // Where not all cluster IPs are ours, none is among them.
      isClusterIP: clusterIPs.size === 0 ? undefined : clusterIPs.has(key.slice(0, addressLengths[table.family])),
      oddities: [...new Set([...all.oddities, ...local.oddities])],
    }
  }

  #isShortCircuited(client: 'node' | 'pods'): boolean {
    const rules = this.#table.chains.get(localPolicy.address)?.rules ?? []
    const toAll = rules.filter(rule => {
      const last = rule.at(-1)
      return last?.kind === 'verdict map' && last.map === 'services'
    })
    return toAll.some(
      rule => isFromNode(rule[0]) === (client === 'node') && !rule.some(clause => this.#isOfNobody(clause)),
    )
  }

  /** Whether it matches addresses of a set without any. */
  #isOfNobody(clause: Clause): boolean {
    const set = setOfAddress(clause, 'saddr')
    return typeof set === 'string' && this.#elements(set).size === 0
  }

  #sources(key: Bytes): Frontend['sources'] {
    if (!this.#elements('source-checks').has(key)) return undefined
    return mergeRanges(rangesOf(this.#table.sets.get(objectName(this.#table.family, 'ranges', key))))
  }

  #byClient(all: readonly string[], external = all): Frontend['endpoints'] {
    const of = (client: Client) => (this.#shortCircuited.includes(client) ? all : external)
    return { external, pods: of('pods'), node: of('node') }
  }

  #target(key: Bytes, { protocol }: Destination, verdict: VerdictData | undefined, first: number): Target {
    if (verdict === undefined || isDrop(verdict)) return nothing
    const chain = gotoOf(verdict)
    const chooser = parseLoadBalancingChainName(chain ?? '')
    // A chain of another protocol matches none of these packets.
    if (chooser?.transport === transportOf[protocol]) return this.#slots(key, chooser, first)
    if (chain?.startsWith('affinity-')) return this.#sticky(chain, protocol)
    return { ...nothing, oddities: [verdictText(verdict)] }
  }

  /** `10.0.0.1 . 80 . 0` → `10.1.0.1 . 8080` */
  #slots(key: Bytes, { transport, count }: LoadBalancingChain, first: number): Target {
    const length = addressLengths[this.#table.family]
    const [ip, port] = [key.slice(0, length), key.slice(length + 4)]
    const map = this.#elements(`endpoints-${transport}`)
    const values = Array.from({ length: count }, (_, slot) => map.get(ip + port + wordBytes(first + slot)))
    const empty = values.filter(value => value === undefined).length
    return {
      endpoints: values.flatMap(value => (value === undefined ? [] : [endpointText(value)])).sort(),
      affinitySeconds: undefined,
      oddities: empty > 0 ? [`${empty} of ${count} slots are empty`] : [],
    }
  }

  #sticky(chain: string, protocol: Protocol): Target {
    const rules = this.#table.chains.get(chain)?.rules ?? []
    const found = { known: [] as string[], fresh: [] as string[], last: [] as string[] }
    const seconds = new Set<number>()
    const oddities: string[] = rules.length === 0 ? [`chain ${chain} is empty or missing`] : []
    for (const rule of rules) {
      const remembering = rememberingOf(rule)
      const endpoints = endpointsOf(remembering?.then ?? rule, protocol, oddities)
      if (endpoints === undefined) {
        oddities.push(printClauses(this.#table.family, rule))
        continue
      }
      if (remembering) seconds.add(remembering.seconds)
      found[remembering?.of ?? 'last'].push(...endpoints)
    }
    const [known, ...others] = Object.values(found).map(endpoints => [...endpoints].sort())
    if (others.some(endpoints => String(endpoints) !== String(known)))
      oddities.push('its rules lead to different endpoints')
    if (seconds.size > 1) oddities.push(`affinity of ${[...seconds].join(' s, ')} s`)
    return { endpoints: known!, affinitySeconds: [...seconds][0], oddities }
  }

  #verdict(map: string, key: Bytes): VerdictData | undefined {
    const value = this.#elements(map).get(key)
    return value === undefined ? undefined : verdictOf(value)
  }

  #elements(set: string): ReadonlyMap<Bytes, Bytes> {
    return this.#table.sets.get(set)?.elements ?? new Map()
  }
}

const localPolicies = Object.values(localPolicy)

/** Reads a frontend: the unspecified address is a node port's. */
function destinationOf(key: readonly Part[], family: IpFamily): Destination {
  const [ip, protocol, port] = key as [string, number, number]
  return { family, address: ip === anyAddressOf[family] ? undefined : ip, protocol: protocols[protocol]!, port }
}

function isDrop(verdict: VerdictData | undefined): boolean {
  return verdict?.code === verdictCodes.drop
}

function refusalOf(verdict: VerdictData | undefined): Frontend['otherwise'] {
  if (verdict === undefined) return undefined
  return isDrop(verdict) ? 'drop' : 'reject'
}

/**
 * Reads a rule that refreshes a client: `update @clients-… { ip saddr timeout 3h }`, for known clients or at random,
 * and what follows.
 */
function rememberingOf([who, update, ...then]: Clauses) {
  if (update?.kind !== 'update' || update.do !== 'update' || !isKey(update.key, 'saddr')) return undefined
  if (update.timeoutMs === undefined) return undefined
  const isKnown = typeof setOfAddress(who, 'saddr') === 'string'
  const isFresh = who?.kind === 'compare' && who.field.name === 'random' && who.op === 'eq' && who.value === 0
  if (!isKnown && !isFresh) return undefined
  return { of: isKnown ? 'known' : 'fresh', seconds: update.timeoutMs / 1000, then } as const
}
