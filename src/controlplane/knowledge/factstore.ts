/** Holds the facts of the cluster as the source reports them, each encoded once for all agents. */

import { encodeFact } from '../../facts/encode.ts'
import { encodeResource } from '../../facts/response.ts'
import { type FactType, factTypes, nameOf, scopesOf, typeOf } from '../../facts/types.ts'
import { versionOf } from '../../facts/versions.ts'
import { type Change, keyOf } from '../../services/objects/objects.ts'
import { type Whole, Wholes } from './whole.ts'

export interface Fact {
  readonly version: string
  /** The scopes that cover it. */
  readonly scopes: readonly string[]
  /** The resource as a field of a response. */
  readonly field: Uint8Array
}

/** A name of which an agent has to hear, if it subscribed to one of the scopes. */
export type OnChange = (type: FactType, name: string, scopes: readonly string[]) => void

export class FactStore {
  readonly #facts = new Map<FactType, Map<string, Fact>>(factTypes.map(type => [type, new Map()]))
  readonly #versions = new Map<FactType, string>()
  readonly #wholes = new Wholes()
  readonly #onChange: OnChange
  #revision = 0

  constructor(onChange: OnChange) {
    this.#onChange = (type, name, scopes) => {
      this.#wholes.changed(type, name)
      onChange(type, name, scopes)
    }
  }

  /** Grows whenever something changes. */
  get revision(): number {
    return this.#revision
  }

  apply(changes: readonly Change[]): void {
    this.#revision++
    for (const change of changes) {
      const key = change.type === 'put' ? keyOf(change.object) : change.key
      const type = typeOf(key.kind)
      const facts = this.all(type)
      const name = nameOf(key)
      if (change.type === 'remove') {
        this.remove(type, name)
        continue
      }
      const before = facts.get(name)
      const version = versionOf(type, change.version)
      const scopes = scopesOf(change.object)
      const field = encodeResource(type, name, version, encodeFact(change.object))
      facts.set(name, { version, scopes, field })
      // A Pod with the name of one that is gone may be on another node.
      const concerned = before ? [...new Set([...before.scopes, ...scopes])] : scopes
      this.#onChange(type, name, concerned)
    }
  }

  remove(type: FactType, name: string): void {
    this.#revision++
    const facts = this.all(type)
    const before = facts.get(name)
    if (before && facts.delete(name)) this.#onChange(type, name, before.scopes)
  }

  /** Everything of a type up to this resourceVersion has been reported. */
  progress(type: FactType, resourceVersion: string): void {
    this.#revision++
    this.#versions.set(type, versionOf(type, resourceVersion))
  }

  all(type: FactType): Map<string, Fact> {
    return this.#facts.get(type)!
  }

  /** All of a type as responses that many share, and what has changed since these were made. */
  whole(type: FactType): Whole {
    return this.#wholes.of(type, this.all(type))
  }

  /** The version up to which everything of the type is here; '' where it is not known. */
  version(type: FactType): string {
    return this.#versions.get(type) ?? ''
  }
}
