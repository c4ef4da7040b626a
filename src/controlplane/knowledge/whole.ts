/**
 * Everything of a type, encoded once for all agents that have nothing yet: when all nodes of a domain connect at once, each
 * is sent the same bytes. What has changed since they were made, each is told by its own responses.
 */

import { encodeFacts } from '../../facts/response.ts'
import type { FactType } from '../../facts/types.ts'

/** Bytes of resources after which a response ends; a single resource may be longer. Every stream may have one under way. */
export const usualBytes = 64 * 1024
/** Beyond so many changes, and this share of all, it is made anew. */
const mostChanged = { names: 100, share: 0.1 }

/** By name, each as a field of a response. */
type Facts = ReadonlyMap<string, { readonly field: Uint8Array }>

export interface Whole {
  readonly responses: readonly WholeResponse[]
  /** Names of what does not fill another one. */
  readonly rest: readonly string[]
  /** Names of what has changed since. */
  readonly changed: Set<string>
}

interface WholeResponse {
  /** Not a number, as those of a stream's own are. */
  readonly nonce: string
  readonly bytes: Buffer
}

/** Those that somebody is being told. */
export class Wholes {
  readonly #wholes = new Map<FactType, WeakRef<Whole>>()

  of(type: FactType, facts: Facts): Whole {
    const known = this.#wholes.get(type)?.deref()
    if (known && known.changed.size <= Math.max(mostChanged.names, facts.size * mostChanged.share)) return known
    const whole = encodeWhole(type, facts)
    this.#wholes.set(type, new WeakRef(whole))
    return whole
  }

  changed(type: FactType, name: string): void {
    this.#wholes.get(type)?.deref()?.changed.add(name)
  }
}

function encodeWhole(type: FactType, facts: Facts): Whole {
  const responses: WholeResponse[] = []
  let resources: Uint8Array[] = []
  let names: string[] = []
  let bytes = 0
  for (const [name, { field }] of facts) {
    resources.push(field)
    names.push(name)
    bytes += field.length
    if (bytes < usualBytes) continue
    const nonce = `${type} ${responses.length}`
    responses.push({ nonce, bytes: encodeFacts({ type, nonce, resources, removed: [] }) })
    resources = []
    names = []
    bytes = 0
  }
  return { responses, rest: names, changed: new Set() }
}
