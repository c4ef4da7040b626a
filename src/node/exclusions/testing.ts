/** Clusters for tests: nodes that look at endpoints and tell one control plane, all by a clock of the test. */

import { Failures } from '../../controlplane/failures/failures.ts'
import type { Exclusion } from '../../exclusions/exclusion.ts'
import type { Sight } from '../../facts/failures.ts'
import type { Reached } from './connecting.ts'
import { Looks } from './looks.ts'

export interface SimulatedEndpoint {
  /** As `hostPort` writes it. */
  readonly name: string
  readonly node: string
  readonly users: readonly string[]
}

/** What is wrong, and may change at any time. */
export interface Faults {
  /** What a node finds when it connects; undefined where the endpoint answers. */
  fails(from: string, endpoint: SimulatedEndpoint): Reached | undefined
  /** Nodes that hear and say nothing, though their connections have not ended. */
  readonly deaf?: readonly string[]
  /** Nodes that say this in place of what they see. */
  readonly liars?: ReadonlyMap<string, readonly Sight[]>
}

export const noFaults: Faults = { fails: () => undefined }

const tickMs = 1000

class SimulatedNode {
  readonly name: string
  readonly looks: Looks
  excluded: readonly Exclusion[] = []
  #expires = 0

  constructor(name: string, endpoints: readonly SimulatedEndpoint[]) {
    const used = new Set(endpoints.filter(({ users }) => users.includes(name)).map(one => one.name))
    this.name = name
    this.looks = new Looks(endpoint => (used.has(endpoint) ? 'namespace' : undefined))
  }

  hear({ exclusions, validMs, asked }: ReturnType<Failures['verdictFor']>, now: number): void {
    this.looks.ask(asked, now)
    if (exclusions === undefined) return
    this.excluded = exclusions
    this.#expires = now + validMs
  }

  expire(now: number): void {
    if (now > this.#expires) this.excluded = []
  }
}

export class SimulatedCluster {
  readonly #endpoints: readonly SimulatedEndpoint[]
  readonly #nodes = new Map<string, SimulatedNode>()
  #failures: Failures | undefined
  /** Milliseconds since the beginning. */
  #now = 0

  constructor(nodes: readonly string[], endpoints: readonly SimulatedEndpoint[]) {
    this.#endpoints = endpoints
    for (const name of nodes) this.#nodes.set(name, new SimulatedNode(name, endpoints))
    this.startControlPlane()
  }

  /** Another one, in place of the one there was. */
  startControlPlane(): void {
    const byName = new Map(this.#endpoints.map(one => [one.name, { node: one.node, namespace: 'namespace' }]))
    this.#failures = new Failures({ find: name => byName.get(name), revision: 0 })
  }

  stopControlPlane(): void {
    this.#failures = undefined
    for (const { looks } of this.#nodes.values()) looks.ask([], this.#now)
  }

  /** The agent of a node starts anew, and so does its stream. */
  restart(name: string): void {
    this.#failures?.left(name)
    this.#nodes.set(name, new SimulatedNode(name, this.#endpoints))
  }

  /** `endpoint 10.244.0.1:80`, `node node1`, as the control plane says. */
  excluded(): readonly string[] {
    return (this.#failures?.exclusions ?? []).map(({ of, name }) => `${of} ${name}`).sort()
  }

  /** As a node has it. */
  excludedAt(name: string): readonly Exclusion[] {
    return this.#nodes.get(name)!.excluded
  }

  /** A second passes: nodes connect and say what they see, and hear the control plane. */
  tick({ fails, deaf = [], liars }: Faults): void {
    this.#now += tickMs
    for (const node of this.#nodes.values()) {
      node.expire(this.#now)
      if (deaf.includes(node.name)) continue
      for (const endpoint of this.#endpoints) {
        if (endpoint.users.includes(node.name) && fails(node.name, endpoint))
          node.looks.suspect(endpoint.name, this.#now)
      }
      for (const name of [...node.looks.endpoints()]) {
        const endpoint = this.#endpoints.find(one => one.name === name)!
        if (node.looks.goesOn(name)) node.looks.found(name, fails(node.name, endpoint) ?? 'answers', this.#now)
      }
    }
    this.#exchange(deaf, liars)
    this.#failures?.review(this.#now, this.#now)
    // What has changed is said at once, and answered.
    this.#exchange(deaf, liars)
    this.#failures?.review(this.#now, this.#now)
  }

  #exchange(deaf: readonly string[], liars: Faults['liars']): void {
    if (!this.#failures) return
    for (const node of this.#nodes.values()) {
      const isDeaf = deaf.includes(node.name)
      const report = () =>
        this.#failures!.report({ node: node.name, sights: liars?.get(node.name) ?? node.looks.sights() }, this.#now)
      if (!isDeaf) report()
      const verdict = this.#failures.verdictFor(node.name, this.#now)
      if (isDeaf) continue
      node.hear(verdict, this.#now)
      report()
    }
  }
}
