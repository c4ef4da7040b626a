/** A whole table of anybody's as the kernel has it, in words. */

import type { NetlinkSocket } from '../netlink/socket.ts'
import type { Bytes } from './bytes.ts'
import type { Nftables } from './client.ts'
import { keyParts, keyText, type SetTypes, valueText } from './elementtext.ts'
import { hookText, type Table } from './operations.ts'
import type { InlineSet } from './rules/clause.ts'
import { hooksFamily } from './rules/expression.ts'
import { printRule } from './rules/print.ts'
import { dumpChains, dumpElements, dumpRules, dumpSets, type FoundSet } from './wire/dump.ts'
import type { FoundElements } from './wire/elements.ts'
import type { Part } from './wire/types.ts'

export interface NftTable {
  /** Rules without their comments, by chain; a base chain's first is its `type … hook …`. */
  readonly chains: ReadonlyMap<string, readonly string[]>
  /** Those with a name. */
  readonly sets: ReadonlyMap<string, NftSet>
}

export interface NftSet {
  /** How long an element lives, in seconds; undefined where it does not end. */
  readonly timeoutSeconds: number | undefined
  /** Value by key; '' in sets. */
  readonly elements: ReadonlyMap<string, string>
  /** By key, where there is one. */
  readonly comments: ReadonlyMap<string, string>
}

/** Undefined where there is no such table. */
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
    const chains = new Map<string, string[]>()
    for (const { name, hook } of await dumpChains(socket, table)) chains.set(name, hook ? [hookText(hook)] : [])
    for (const { chain, expressions } of await dumpRules(socket, hooksFamily[table.family], table.name)) {
      chains.get(chain)?.push(printRule(table.family, expressions, name => inline.get(name)))
    }
    const named = sets.filter(({ isInline }) => !isInline)
    return { chains, sets: new Map(named.map(set => [set.name, setOf(set, found.get(set.name)!)])) }
  })
}

async function elementsOf(socket: NetlinkSocket, table: Table, { name, types }: FoundSet) {
  const found = types && (await dumpElements(socket, table, name, types))
  return found ?? { elements: [], comments: new Map() }
}

function setOf({ timeoutSeconds, types }: FoundSet, { elements, comments }: FoundElements): NftSet {
  return {
    timeoutSeconds,
    elements: new Map(elements.map(([key, value]) => [keyText(types!, key), valueText(types!, value)])),
    comments: new Map([...comments].map(([key, comment]) => [keyText(types!, key), comment])),
  }
}

/** A set that is a part of a rule, with numbers in their order. */
export function inlineSet(types: SetTypes, { elements }: FoundElements): InlineSet {
  const first = (key: Bytes) => keyParts(types, key)[0]
  const compare = (a: Part | undefined, b: Part | undefined) => (typeof a === 'number' ? a - Number(b) : 0)
  return { types, elements: elements.toSorted(([a], [b]) => compare(first(a), first(b))) }
}

/** For people, much as nft prints it. */
export function snapshotText({ family, name }: Table, { chains, sets }: NftTable): string {
  const lines = [`table ${family} ${name} {`]
  for (const [set, { elements, timeoutSeconds }] of sets) {
    lines.push(`  set ${set} {`)
    if (timeoutSeconds !== undefined) lines.push(`    timeout ${timeoutSeconds}s`)
    for (const [key, value] of elements) lines.push(`    ${value === '' ? key : `${key} : ${value}`}`)
    lines.push('  }')
  }
  for (const [chain, rules] of chains) lines.push(`  chain ${chain} {`, ...rules.map(rule => `    ${rule}`), '  }')
  return `${lines.join('\n')}\n}\n`
}
