/** A cluster, replicas of its control plane, and agents that read from them, by real streams. */

import { test } from 'node:test'
import {
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import { type ControlPlane, startControlPlane } from '../../controlplane/server.ts'
import { sayFormat } from '../../facts/format.ts'
import { discoveryService } from '../../xds/grpc.ts'
import type { Source } from '../source.ts'
import { RecordingListener, silentLog } from '../testing.ts'
import { controlPlaneSource } from './controlplane.ts'
import { hostAddresses } from './replicas/addresses.ts'
import { Cluster, DirectSource } from './testing.ts'

export class Lab {
  readonly cluster = new Cluster()
  readonly #stops: (() => Promise<unknown>)[] = []
  /** How often agents began to watch the API server. */
  timesDirect = 0

  async replica(port = 0, isFollowing = true, progressMs = 20): Promise<ControlPlane & { letGo(): void }> {
    const address = { address: '127.0.0.1', port }
    const replica = await startControlPlane({ address, log: silentLog, progressMs })
    const letGo = isFollowing ? this.cluster.follow(replica.knowledge) : () => undefined
    let isStopped = false
    const stop = async () => {
      letGo()
      if (!isStopped) await replica.stop()
      isStopped = true
    }
    this.#stops.push(stop)
    return { ...replica, letGo, stop }
  }

  async agent(
    ports: readonly number[],
    options: { readonly patienceMs?: number; readonly nodeName?: string; readonly searchMs?: number } = {},
  ) {
    const { patienceMs = 60_000, nodeName = 'node1', searchMs } = options
    const direct = (): Source => {
      this.timesDirect++
      return new DirectSource(this.cluster, nodeName)
    }
    const hosts = ports.map(port => ({ host: '127.0.0.1', port }))
    const source = controlPlaneSource({
      findReplicas: hostAddresses(hosts, false),
      nodeName,
      direct,
      patienceMs,
      searchMs,
      log: silentLog,
    })
    const listener = new RecordingListener()
    this.#stops.unshift(() => source.stop())
    await source.start(listener)
    return { source, listener }
  }

  /**
   * A control plane that accepts streams, and does no more than this with each.
   * @returns its port, and how many it has accepted
   */
  async replicaThat(
    handle: (call: ServerDuplexStream<Uint8Array, Uint8Array>) => void,
    metadata = sayFormat(new Metadata()),
  ) {
    const server = new Server()
    let accepted = 0
    const deltaAggregatedResources = (call: ServerDuplexStream<Uint8Array, Uint8Array>) => {
      accepted++
      call.sendMetadata(metadata)
      call.on('data', () => undefined)
      handle(call)
    }
    server.addService(discoveryService, { deltaAggregatedResources } as unknown as UntypedServiceImplementation)
    this.#stops.push(async () => server.forceShutdown())
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
      error ? reject(error) : resolve(port),
    )
    return { port: await promise, accepted: () => accepted }
  }

  async stop(): Promise<void> {
    for (const stop of this.#stops) await stop()
  }
}

/** A test with a lab of its own. */
export function testLab(name: string, body: (lab: Lab) => Promise<void>): void {
  test(name, async () => {
    const lab = new Lab()
    try {
      await body(lab)
    } finally {
      await lab.stop()
    }
  })
}
