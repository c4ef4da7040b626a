/** An endpoint, or a node with all endpoints on it, that gets no new connections although Kubernetes says that it is ready. */

import { hostPort, type Protocol } from '../net/address.ts'
import type { Unreachable } from './observation.ts'

export interface Exclusion {
  readonly of: 'endpoint' | 'node'
  /** An endpoint's address and port (TCP), as `hostPort` writes them, or a node's name. */
  readonly name: string
  readonly failure: Unreachable
  /** Milliseconds since the epoch, by the clock of who excludes. */
  readonly since: number
  /** The nodes on whose word it is excluded. */
  readonly by: readonly string[]
  /** The agent of the node itself, or of the endpoint's, does not answer either. */
  readonly isSilent: boolean
}

/** Exclusions by what they are of. */
export class Exclusions {
  readonly #endpoints: ReadonlyMap<string, Exclusion>
  readonly #nodes: ReadonlyMap<string, Exclusion>

  constructor(all: readonly Exclusion[] = []) {
    const named = (of: Exclusion['of']) => new Map(all.filter(one => one.of === of).map(one => [one.name, one]))
    this.#endpoints = named('endpoint')
    this.#nodes = named('node')
  }

  get isEmpty(): boolean {
    return this.#endpoints.size === 0 && this.#nodes.size === 0
  }

  /** The names of endpoints and of nodes that are excluded here or there only, or since another time. */
  differencesTo(other: Exclusions): { readonly endpoints: readonly string[]; readonly nodes: readonly string[] } {
    return {
      endpoints: differences(this.#endpoints, other.#endpoints),
      nodes: differences(this.#nodes, other.#nodes),
    }
  }

  /** Returns what excludes this endpoint: its node rather than itself. */
  of(ip: string, port: number, protocol: Protocol, node: string | undefined): Exclusion | undefined {
    const ofNode = node === undefined ? undefined : this.#nodes.get(node)
    return ofNode ?? (protocol === 'TCP' ? this.#endpoints.get(hostPort(ip, port)) : undefined)
  }
}

function differences(a: ReadonlyMap<string, Exclusion>, b: ReadonlyMap<string, Exclusion>): readonly string[] {
  const names = [...a.keys(), ...[...b.keys()].filter(name => !a.has(name))]
  return names.filter(name => a.get(name)?.since !== b.get(name)?.since)
}

/** What is excluded now and was not before, and what no longer is. */
export function changesBetween(before: readonly Exclusion[], after: readonly Exclusion[]) {
  const notIn = (others: readonly Exclusion[]) => {
    const known = new Set(others.map(nameOf))
    return (one: Exclusion) => !known.has(nameOf(one))
  }
  return { begun: after.filter(notIn(before)), ended: before.filter(notIn(after)) }
}

export function nameOf({ of, name }: Exclusion): string {
  return `${of} ${name}`
}
