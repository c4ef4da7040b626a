/** The tables of an agent in the model of the kernel, and what they shall have there. */

import { externalDestinationsOf } from '../../plan/ports/externaldestinations.ts'
import type { PortState } from '../../plan/ports/port.ts'
import type { Problem } from '../../services/problem.ts'
import type { Flush, SyncResult } from '../layer.ts'
import { addressPortBytes } from '../nftables/bytes.ts'
import { planNode } from '../nftables/elements/node.ts'
import { placementOf, planPort } from '../nftables/elements/plan.ts'
import { KernelTables } from '../nftables/sync/table.ts'
import { unknownNode } from '../nodeconfig.ts'
import type { VipPort } from '../overlay.ts'
import { ModelNft } from './modelnft.ts'
import { inWords, portState, testOptions } from './states.ts'

/** The part of an agent that writes the tables, and its reports. */
export class Agent {
  readonly nft: ModelNft
  readonly flushes: Flush[] = []
  onFlush: (() => void) | undefined
  readonly results: SyncResult[] = []
  readonly problems = new Map<string, readonly Problem[]>()
  readonly tables: KernelTables

  constructor(nft = new ModelNft()) {
    this.nft = nft
    this.tables = new KernelTables(
      testOptions,
      {
        flushed: flush => {
          this.flushes.push(flush)
          this.onFlush?.()
        },
        syncResult: result => void this.results.push(result),
        problems: (origin, problems) =>
          void (problems.length === 0 ? this.problems.delete(origin) : this.problems.set(origin, problems)),
      },
      {
        nft,
        ensureRouting: async () => false,
        watchTables: () => () => {},
        watchRouting: () => () => {},
        removeStaleFlows: async () => [],
        close: () => {},
      },
    )
  }

  async run(states: readonly PortState[] = []) {
    const inherited = await this.tables.start()
    for (const state of states) this.tables.setPort(state)
    this.tables.synced()
    await this.tables.settled()
    return inherited
  }
}

/** Returns the parts of an agent for destructuring. */
export function bound(agent: Agent) {
  return { tables: agent.tables, nft: agent.nft, run: agent.run.bind(agent) }
}

/** Lists elements with the slots of a port in any order: `endpoints-tcp` values are sorted. */
export function unordered(elements: ReadonlyMap<string, string>): string[] {
  return [...elements]
    .map(([name, value]) =>
      name.includes(' endpoints-') ? `${name.replace(/\d+$/, '*')} ${value}` : `${name} ${value}`,
    )
    .toSorted()
}

/** Lists the VIP:port and the external addresses. */
export function overlayAddresses(state: PortState): readonly VipPort[] {
  return [
    { ip: state.vip, port: state.port.port },
    ...externalDestinationsOf(state).map(({ ip, port }) => ({ ip, port })),
  ]
}

export function overlayKeysOf(state: PortState): readonly string[] {
  return overlayAddresses(state).map(addressPortBytes)
}

/**
 * Lists the elements that the kernel shall have, as `unordered` does.
 * @param overlay whether they go to the listener that Service ports share, by key
 */
export function wanted(states: Iterable<PortState>, overlay: ReadonlyMap<string, boolean> = new Map()): string[] {
  const elements = new Map(planNode(unknownNode, testOptions))
  for (const state of states) {
    const keys = overlayKeysOf(state).filter(key => overlay.has(key))
    const redirected = { keys, isShared: keys.some(key => overlay.get(key)) }
    for (const [name, value] of planPort(placementOf(state, redirected), testOptions)) elements.set(name, value)
  }
  return unordered(inWords(elements))
}

export const web = portState('a/web/http', '10.0.0.1', ['10.1.0.1:80@node1', '10.1.0.2:80@node2', '10.1.0.3:80@node2'])
export const dns = portState('a/dns/53', '10.0.0.2', ['10.1.0.1:53@node1'], {
  port: { name: '', protocol: 'UDP', port: 53 },
})
