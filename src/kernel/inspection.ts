/**
 * Looks for what somebody else changed in our tables. It only reads, beside whatever is written meanwhile: what it says
 * about a port holds where nothing of the port was written in that time.
 */

import { setImmediate as turn } from 'node:timers/promises'
import { type Elements, type Family, nodeOwner, ownerOf, partsOf } from './elements.ts'
import type { NftClient } from './nft.ts'
import type { PlanOptions } from './plan.ts'
import { readTables } from './reading.ts'
import { elementsOf, type PortRecord } from './record.ts'
import { fixedRules, isChooser, overlaySwitch, type RulesetOptions, tableName } from './ruleset.ts'

/** Other work comes in between, after so many ports. */
const portsATurn = 500

/** Says that a table is gone; undefined where it is there. A few milliseconds, whatever the table holds. */
export async function findMissingTable(nft: NftClient, family: Family): Promise<string | undefined> {
  return (await nft.listSet(family, overlaySwitch, {})) ? undefined : gone(family)
}

/**
 * Compares all that the kernel has with all that was written. Returns what is wrong in words for a log, undefined where
 * all is well.
 *
 * @param ports all ports, as a live view
 * @param node what was written of the node itself, and what shall be
 */
export async function findDamage(
  nft: NftClient,
  families: readonly Family[],
  options: PlanOptions & RulesetOptions,
  ports: { values(): Iterable<PortRecord> },
  node: () => { readonly written: Elements; readonly wanted: Elements },
): Promise<string | undefined> {
  const ofNode = node().written
  const before = [...ports.values()].map(record => ({ record, written: record.written }))
  const found = new Map<string, string>()
  const chains = new Map<string, number>()
  const exists = await readTables(nft, families, {
    chain: (family, name, rules) => void chains.set(`${family} ${name}`, rules),
    element: (name, value) => void found.set(name, value),
  })
  if (!exists) return families.map(gone).join(' or ')
  const known = new Set([...ofNode.keys(), ...node().wanted.keys()])
  if (ofNode === node().written) {
    const wrong = findWrong(ofNode, found)
    if (wrong !== undefined) return wrong
  } else for (const name of found.keys()) if (ownerOf(partsOf(name)) === nodeOwner) known.add(name)
  for (const [index, { record, written }] of before.entries()) {
    if (index % portsATurn === portsATurn - 1) await turn()
    const elements = elementsOf({ written }, options)
    for (const name of elements.keys()) known.add(name)
    if (record.written === written) {
      const wrong = findWrong(elements, found)
      if (wrong !== undefined) return `${wrong} of ${record.id}`
    } else for (const name of elementsOf(record, options).keys()) known.add(name)
  }
  return findWrongChain(families, options, chains) ?? findUnknown(found, known, ports, options)
}

function gone(family: Family): string {
  return `table ${family} ${tableName} is gone`
}

function findWrong(expected: Elements, found: Elements): string | undefined {
  for (const [name, value] of expected) if (found.get(name) !== value) return `element ${name}`
  return undefined
}

function findWrongChain(
  families: readonly Family[],
  options: RulesetOptions,
  found: ReadonlyMap<string, number>,
): string | undefined {
  for (const family of families) {
    for (const [name, rules] of fixedRules(family, options)) {
      if (found.get(`${family} ${name}`) !== rules) return `rules of chain ${family} ${name}`
    }
  }
  for (const [name, rules] of found) if (rules === 0 && isChooser(name.split(' ')[1]!)) return `rules of chain ${name}`
  return undefined
}

/** Ports that came while it was read are in it or not, and a port that was refused may have what ports share. */
function findUnknown(
  found: Elements,
  known: ReadonlySet<string>,
  ports: { values(): Iterable<PortRecord> },
  options: PlanOptions,
): string | undefined {
  const unknown = new Set([...found.keys()].filter(name => !known.has(name)))
  if (unknown.size === 0) return undefined
  const hasRefused = [...ports.values()].some(({ refusal }) => refusal)
  if (hasRefused) for (const name of unknown) if (ownerOf(partsOf(name)) === undefined) unknown.delete(name)
  for (const record of ports.values()) for (const name of elementsOf(record, options).keys()) unknown.delete(name)
  const [first] = unknown
  return first === undefined ? undefined : `element ${first}, which nobody asked for`
}
