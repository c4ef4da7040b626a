/**
 * Ports that their owners call http and whose servers speak first, as was seen on this node: the kernel layer serves
 * them, since in Envoy each of their connections waits for the client. A port comes back when its owner says something
 * else of it.
 */

import type { ServicePort } from '../../services/objects/service.ts'
import type { Settings } from '../../services/settings/settings.ts'

/** What makes a port come back when it changes. */
export function saidOf({ name, port, appProtocol }: ServicePort, { protocol, overlay }: Settings): string {
  return JSON.stringify({ name, port, appProtocol, protocol, overlay })
}

export const misnamedRemedy =
  'give the port another name or appProtocol, or set protocol: tcp; any change of these, of its number or of the setting overlay brings it back to Envoy if it is for it then'

export class MisnamedPorts {
  /** By id: what the owner said when it was seen. */
  readonly #said: Map<string, string>

  constructor(said: Iterable<readonly [id: string, said: string]> = []) {
    this.#said = new Map(said)
  }

  /** @returns whether it was not known so yet */
  add(id: string, said: string): boolean {
    const isNew = this.#said.get(id) !== said
    this.#said.set(id, said)
    return isNew
  }

  /** @returns whether it was known */
  remove(id: string): boolean {
    return this.#said.delete(id)
  }

  /** What the owner said of the port; undefined for one that is none of these. */
  saidOf(id: string): string | undefined {
    return this.#said.get(id)
  }

  entries(): Iterable<readonly [id: string, said: string]> {
    return this.#said
  }

  /** Why the kernel layer serves the port, in words for a user; undefined where it does not for this. */
  why(id: string, port: ServicePort, settings: Settings): string | undefined {
    if (this.#said.size === 0 || this.#said.get(id) !== saidOf(port, settings)) return undefined
    return `its server speaks first, which is no HTTP (LP206): ${misnamedRemedy}`
  }
}
