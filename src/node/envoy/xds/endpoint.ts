/** The xDS server on the socket to which the Envoys of this node connect, once it could be started. */

import { type EnvoySockets, xdsSocket } from '../../../envoy/program/sockets.ts'
import type { ResourceRef } from '../../../envoy/resource.ts'
import type { Log } from '../../../observe/log.ts'
import { problem } from '../../../services/problem.ts'
import { startXdsServer, type XdsClients, type XdsServer, type XdsServerOptions } from '../../../xds/server.ts'
import type { Report } from '../../events.ts'
import { prepareSocketDirectory } from '../../system/socketdirectory.ts'
import { type Retried, startRetrying } from '../../tasks/retry.ts'

export interface XdsEndpointOptions {
  readonly sockets: EnvoySockets
  /** User id of Envoy, and its group's. */
  readonly envoyUser: number
  readonly log: Log
  readonly report: Report
}

const retryMs = 5000

export class XdsEndpoint implements XdsClients {
  readonly #options: XdsEndpointOptions
  #server: Retried<XdsServer> | undefined

  constructor(options: XdsEndpointOptions) {
    this.#options = options
  }

  start(served: Pick<XdsServerOptions, 'storeOf' | 'forActive' | 'observer' | 'onAccessLog'>): void {
    const { sockets, envoyUser, log, report } = this.#options
    this.#server = startRetrying({
      everyMs: retryMs,
      start: async () => {
        prepareSocketDirectory(sockets.directory, envoyUser)
        const path = xdsSocket(sockets.directory)
        return startXdsServer({ ...served, path, group: envoyUser, users: sockets.users, log })
      },
      problem: error =>
        problem('LP302', 'xDS server', error.message, 'the kernel layer serves all Services; it is tried again'),
      onProblems: problems => {
        if (problems.length > 0) report({ type: 'xDS server failed' })
        report({ type: 'problems', origin: 'xDS server', problems })
      },
    })
  }

  /** The server; undefined until it has started. */
  get server(): XdsServer | undefined {
    return this.#server?.started()
  }

  /** The users of the connected processes; with none, of those that may connect. */
  get users(): readonly number[] {
    const connected = this.server?.users() ?? []
    return connected.length > 0 ? connected : (this.#options.sockets.users ?? [])
  }

  acknowledgedVersion(clientId: number, ref: ResourceRef): string | undefined {
    return this.server?.acknowledgedVersion(clientId, ref)
  }

  setActive(clientId: number, active: boolean): void {
    this.server?.setActive(clientId, active)
  }

  async stop(): Promise<void> {
    await (await this.#server?.stop())?.stop()
  }
}
