/** Indexes the Nodes of the cluster and their addresses. */

import type { Node } from './objects/service.ts'

export class NodeIndex {
  readonly #nodes = new Map<string, Node>()
  /** How many Nodes have it: an address may go from one Node to the next. */
  readonly #addresses = new Map<string, number>()

  get(name: string): Node | undefined {
    return this.#nodes.get(name)
  }

  /** Whether the address is a Node's. */
  hasAddress(ip: string): boolean {
    return this.#addresses.has(ip)
  }

  /** The pod ranges of all Nodes that have one. */
  podCidrs(): readonly string[] {
    return [...this.#nodes.values()].flatMap(({ podCidrs }) => podCidrs)
  }

  /** @returns whether its addresses changed, or those of its pods */
  set(name: string, node: Node | undefined): boolean {
    const before = this.#nodes.get(name)
    for (const ip of before?.addresses ?? []) this.#count(ip, -1)
    for (const ip of node?.addresses ?? []) this.#count(ip, 1)
    if (node) this.#nodes.set(name, node)
    else this.#nodes.delete(name)
    return rangesOf(before) !== rangesOf(node)
  }

  #count(ip: string, by: number): void {
    const count = (this.#addresses.get(ip) ?? 0) + by
    if (count > 0) this.#addresses.set(ip, count)
    else this.#addresses.delete(ip)
  }
}

function rangesOf(node: Node | undefined): string {
  return [...(node?.addresses ?? []), ...(node?.podCidrs ?? [])].join()
}
