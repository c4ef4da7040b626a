/** A whole table of anybody's as the kernel has it. */

import type { NetlinkSocket } from '../netlink/socket.ts'
import type { Bytes } from './bytes.ts'
import type { Clauses } from './clauses/clause.ts'
import { printClauses } from './clauses/print.ts'
import { readRule } from './clauses/read.ts'
import type { Nftables } from './client.ts'
import { inlineSet } from './elements/inlineset.ts'
import { keyValueText, type SetTypes } from './elements/values.ts'
import { type FoundHook, hookText, type Table } from './operations.ts'
import { hooksFamily } from './rules/expression.ts'
import { dumpChains, dumpElements, dumpRules, dumpSets, type FoundSet } from './wire/dump.ts'
import type { FoundElements } from './wire/elements.ts'

export interface NftTable extends Table {
  readonly chains: ReadonlyMap<string, NftChain>
  /** Those with a name. */
  readonly sets: ReadonlyMap<string, NftSet>
}

export interface NftChain {
  /** Of base chains. */
  readonly hook: FoundHook | undefined
  readonly rules: readonly Clauses[]
}

export interface NftSet {
  /** Undefined where keys or values are of types that we do not know; such a set has no elements here. */
  readonly types: SetTypes | undefined
  /** How long an element lives, in seconds; undefined where it does not end. */
  readonly timeoutSeconds: number | undefined
  /** Value by key; '' in sets. */
  readonly elements: ReadonlyMap<Bytes, Bytes>
  /** By key, where there is one. */
  readonly comments: ReadonlyMap<Bytes, string>
}

/** Reads the table; undefined where there is no such table. */
export async function readTable(nft: Nftables, table: Table): Promise<NftTable | undefined> {
  if (!(await nft.exists(table))) return undefined
  return await nft.use(async socket => {
    const sets = await dumpSets(socket, table)
    const found = new Map<string, FoundElements>()
    for (const set of sets) found.set(set.name, await elementsOf(socket, table, set))
    const inline = new Map(
      sets.flatMap(({ name, isInline, types }) =>
        isInline && types ? [[name, inlineSet(types, found.get(name)!)]] : [],
      ),
    )
    const rules = Map.groupBy(await dumpRules(socket, hooksFamily[table.family], table.name), ({ chain }) => chain)
    const clausesOf = (chain: string) =>
      (rules.get(chain) ?? []).map(({ expressions }) => readRule(table.family, expressions, name => inline.get(name)))
    const chains = await dumpChains(socket, table)
    const named = sets.filter(({ isInline }) => !isInline)
    return {
      ...table,
      chains: new Map(chains.map(({ name, hook }) => [name, { hook, rules: clausesOf(name) }])),
      sets: new Map(named.map(set => [set.name, setOf(set, found.get(set.name)!)])),
    }
  })
}

async function elementsOf(socket: NetlinkSocket, table: Table, { name, types }: FoundSet) {
  const found = types && (await dumpElements(socket, table, name, types))
  return found ?? { elements: [], comments: new Map(), remaining: new Map() }
}

function setOf({ timeoutSeconds, types }: FoundSet, { elements, comments }: FoundElements): NftSet {
  return { types, timeoutSeconds, elements: new Map(elements), comments }
}

/** Prints it for people, much as nft does. */
export function snapshotText({ family, name, chains, sets }: NftTable): string {
  const lines = [`table ${family} ${name} {`]
  for (const [set, { types, elements, timeoutSeconds }] of sets) {
    lines.push(`  set ${set} {`)
    if (timeoutSeconds !== undefined) lines.push(`    timeout ${timeoutSeconds}s`)
    if (types) for (const [key, value] of elements) lines.push(`    ${keyValueText(types, key, value)}`)
    lines.push('  }')
  }
  for (const [chain, { hook, rules }] of chains) {
    lines.push(`  chain ${chain} {`)
    if (hook) lines.push(`    ${hookText(hook)}`)
    lines.push(...rules.map(rule => `    ${printClauses(family, rule)}`), '  }')
  }
  return `${lines.join('\n')}\n}\n`
}
