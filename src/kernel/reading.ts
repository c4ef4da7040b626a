/** Our tables as the kernel has them, in the words of elements.ts. */

import { parseObjectName } from './affinity.ts'
import { elementName, type Family, hasProtocol, type SetName } from './elements.ts'
import type { NftClient } from './nft.ts'
import { overlaySwitch } from './ruleset.ts'

export interface TableReader {
  /** Not of single Service ports: those are elements. `rules` counts the hook of a base chain, too. */
  chain(family: Family, name: string, rules: number): void
  /** Of the sets that are ours alone; the overlay's switch is the administrator's. */
  element(name: string, value: string): void
}

/** False where a table is missing. */
export async function readTables(
  nft: Pick<NftClient, 'list'>,
  families: readonly Family[],
  reader: TableReader,
): Promise<boolean> {
  for (const family of families) {
    const exists = await nft.list(family, {
      chain: (name, rules) => {
        const own = parseObjectName(name)
        if (own) reader.element(elementName(family, own.set, own.key), rules.map(namedRule).join('\n'))
        else reader.chain(family, name, rules.length)
      },
      set: name => {
        const own = parseObjectName(name)
        if (own) reader.element(elementName(family, own.set, own.key), '')
      },
      element: (set, key, value) => {
        if (set === overlaySwitch) return
        const name = set as SetName
        reader.element(elementName(family, name, hasProtocol(name) ? namedProtocol(key) : key), value)
      },
    })
    if (!exists) return false
  }
  return true
}

const protocolNames: Readonly<Record<string, string>> = { 6: 'tcp', 17: 'udp', 132: 'sctp' }

/** `10.0.0.1 . 6 . 80`, as nft lists it, with the protocol by name. */
function namedProtocol(key: string): string {
  return key.replace(/ \. (6|17|132) \. /, (_, number: string) => ` . ${protocolNames[number]} . `)
}

/** The same for `meta l4proto 6` in a rule. */
function namedRule(rule: string): string {
  return rule.replace(/\bmeta l4proto (6|17|132) /, (_, number: string) => `meta l4proto ${protocolNames[number]} `)
}
