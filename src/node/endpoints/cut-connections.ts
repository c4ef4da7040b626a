/**
 * Remembers Service ports whose endpoints close connections while requests are on them. A server that closes idle
 * connections sooner than Envoy (upstream-idle-timeout) may do so just as a GET arrives, and where there is no other
 * endpoint Envoy does not try again: it answers 503, where a client of kube-proxy knows whether its server may have
 * closed. So connections are not reused for an hour, in which no such failure can be seen. A server that crashes looks
 * the same: that costs Envoy CPU time, and no more.
 */

import type { Failure } from '../../observe/accesslog/records.ts'

const holdMs = 3600e3

/** POST and the like already have connections of their own. */
const reusing: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

export class CutConnections {
  readonly #onChange: (id: string, areCut: boolean) => void
  readonly #known = new Map<string, NodeJS.Timeout>()

  constructor(onChange: (id: string, areCut: boolean) => void) {
    this.#onChange = onChange
  }

  failed(id: string, { method, isCut }: Failure): void {
    if (!isCut || !reusing.has(method)) return
    const end = () => {
      this.#known.delete(id)
      this.#onChange(id, false)
    }
    if (!this.#known.has(id)) this.#known.set(id, setTimeout(end, holdMs).unref())
    // The port may have gone and come back meanwhile, and is served like others then.
    this.#onChange(id, true)
  }

  stop(): void {
    for (const timer of this.#known.values()) clearTimeout(timer)
  }
}
