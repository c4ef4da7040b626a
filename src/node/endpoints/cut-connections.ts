/**
 * Remembers Service ports whose endpoints end connections that requests are on. A server that closes idle connections sooner than Envoy
 * (upstream-idle-timeout) may do so as a GET arrives, and where there is no other endpoint Envoy does not try again: 503 where a client
 * of kube-proxy knows whether its server may have closed. So what is reused by default is not there for an hour, in which nothing of
 * that kind can be seen. A server that crashed is taken for such a one: that costs Envoy CPU time, and no more.
 */

import type { Failure } from '../../observe/accesslog/records.ts'

const holdMs = 3600e3

/** POST and the like have connections of their own already. */
const reusing: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

export class CutConnections {
  readonly #onChange: (id: string, areCut: boolean) => void
  readonly #known = new Map<string, NodeJS.Timeout>()

  constructor(onChange: (id: string, areCut: boolean) => void) {
    this.#onChange = onChange
  }

  failed(id: string, { method, isCut }: Failure): void {
    if (!isCut || !reusing.has(method) || this.#known.has(id)) return
    const end = () => {
      this.#known.delete(id)
      this.#onChange(id, false)
    }
    this.#known.set(id, setTimeout(end, holdMs).unref())
    this.#onChange(id, true)
  }

  stop(): void {
    for (const timer of this.#known.values()) clearTimeout(timer)
  }
}
