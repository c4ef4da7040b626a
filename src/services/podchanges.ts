/** Gathers what changes of pods, policies and Nodes affect. */

/** Endpoints that have to be judged again, by namespace. */
export type Rejudged = ReadonlyMap<string, ReadonlySet<string> | 'all'> | 'all'

export interface PodsUpdate {
  /** Names of Nodes with a pod that came, went or changed. */
  readonly nodes: ReadonlySet<string>
  /** A policy changed, or a pod that one keeps others from: what every node enforces may be different. */
  readonly policies: boolean
  readonly rejudged: Rejudged
}

export class PodChanges {
  readonly #nodes = new Set<string>()
  #policies = false
  readonly #rejudged = new Map<string, Set<string> | 'all'>()
  #rejudgedAll = false

  /** @param isGuarded a policy says who may connect to it */
  addPod(nodeName: string, isGuarded: boolean): void {
    this.#nodes.add(nodeName)
    this.#policies ||= isGuarded
  }

  addPolicy(): void {
    this.#policies = true
  }

  /**
   * @param namespace '' for all
   * @param what an address, or 'all' of the namespace
   */
  rejudge(namespace: string, what: string): void {
    if (namespace === '') this.#rejudgedAll = true
    const known = this.#rejudged.get(namespace)
    if (what === 'all') this.#rejudged.set(namespace, 'all')
    else if (known === undefined) this.#rejudged.set(namespace, new Set([what]))
    else if (known !== 'all') known.add(what)
  }

  found(): PodsUpdate {
    const rejudged = this.#rejudgedAll ? 'all' : this.#rejudged
    return { nodes: this.#nodes, policies: this.#policies, rejudged }
  }
}
