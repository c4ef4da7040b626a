/**
 * Finds drift in our tables. It only reads, beside whatever is written meanwhile, and reports nothing of the elements
 * that were written in that time.
 */

import { isTurnOver, nextTurn } from '../../../../worker/turns.ts'
import type { Family } from '../../../family.ts'
import type { PlanOptions, RulesetOptions } from '../../../options.ts'
import type { Bytes } from '../../bytes.ts'
import type { NftClient } from '../../client.ts'
import { type ElementName, type ElementSink, type Elements, isShared, overlaySwitch } from '../../elements/elements.ts'
import { readTables } from '../../elements/reading.ts'
import { elementText } from '../../elements/text.ts'
import { fixedRules, isLoadBalancingChain, tableName } from '../../rules/ruleset.ts'
import { eachWritten, type PortRecord } from '../ports/record.ts'
import { Fingerprints } from './fingerprints.ts'

/** What was written to the kernel, of the node and of ports. */
export interface WrittenView {
  node(): Elements
  readonly ports: { values(): Iterable<PortRecord> }
}

/** Whether a table is there, and whether its overlay is switched off. */
export interface Presence {
  /** Says that the table is gone; undefined where it is there. */
  readonly missing: string | undefined
  /** People have switched the overlay off. */
  readonly isOff: boolean
}

/** Checks whether the table is there: well below a millisecond, whatever it holds. */
export async function findPresence(nft: NftClient, family: Family): Promise<Presence> {
  const keys = await nft.keys(family, overlaySwitch)
  return { missing: keys ? undefined : gone(family), isOff: keys !== undefined && keys.length > 0 }
}

/**
 * Compares all that the kernel has with all that was written. Returns what is wrong in words for a log, undefined where
 * all is well.
 *
 * @param written as a live view
 * @param isTouched tells elements that were written since the reading began; see Writer
 */
export async function findDrift(
  nft: NftClient,
  families: readonly Family[],
  options: PlanOptions & RulesetOptions,
  written: WrittenView,
  isTouched: (name: ElementName) => boolean,
): Promise<string | undefined> {
  const found = new Fingerprints()
  const chains = new Map<string, number>()
  const exists = await readTables(nft, families, {
    chain: (family, name, rules) => void chains.set(`${family} ${name}`, rules),
    element: (name, value) => found.add(name, value),
  })
  if (!exists) return families.map(gone).join(' or ')
  let wrong: ElementName | undefined
  const expected: ElementSink = {
    set: (name, value) => {
      if (!found.claim(name, value) && !isTouched(name)) wrong ??= name
    },
  }
  for (const [name, value] of written.node()) expected.set(name, value)
  if (wrong !== undefined) return `element ${elementText(wrong)}`
  for (const record of written.ports.values()) {
    if (isTurnOver()) await nextTurn()
    eachWritten(record, options, expected)
    if (wrong !== undefined) return `element ${elementText(wrong)} of ${record.id}`
  }
  const wrongChain = findWrongChain(families, options, chains)
  if (wrongChain !== undefined || found.unclaimed === 0) return wrongChain
  // A port that was refused may have elements that ports share.
  const hasRefused = [...written.ports.values()].some(({ refusal }) => refusal)
  return await findUnknown(
    nft,
    families,
    (name, value) => found.isUnclaimed(name, value) && !isTouched(name) && !(hasRefused && isShared(name)),
  )
}

/** Reads all again for the names of elements that nobody asked for. */
async function findUnknown(
  nft: NftClient,
  families: readonly Family[],
  isUnknown: (name: ElementName, value: Bytes) => boolean,
): Promise<string | undefined> {
  let unknown: ElementName | undefined
  await readTables(nft, families, {
    chain: () => {},
    element: (name, value) => {
      if (unknown === undefined && isUnknown(name, value)) unknown = name
    },
  })
  return unknown === undefined ? undefined : `element ${elementText(unknown)}, which nobody asked for`
}

function gone(family: Family): string {
  return `table ${family} ${tableName} is gone`
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
  for (const [name, rules] of found)
    if (rules === 0 && isLoadBalancingChain(name.split(' ')[1]!)) return `rules of chain ${name}`
  return undefined
}
