/** A real Envoy on loopback that takes everything from an xDS server, and what the server saw. */

import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ResourceRef, refKey } from '../../../src/envoy/resource.ts'
import type { Nack, VersionedRef } from '../../../src/xds/client/messages.ts'
import { startXdsServer, type XdsServer } from '../../../src/xds/server.ts'
import type { ClientInfo } from '../../../src/xds/session.ts'
import { ResourceStore } from '../../../src/xds/store.ts'

/** An xDS server with its store, and everything that its observer heard. */
export class XdsLab {
  readonly store = new ResourceStore()
  readonly clients: ClientInfo[] = []
  readonly disconnected = new Set<number>()
  readonly acknowledged: (VersionedRef & { readonly client: number })[] = []
  readonly gone: (ResourceRef & { readonly client: number })[] = []
  readonly nacks: (Nack & { readonly client: number })[] = []
  /** What was acknowledged and what is gone, in the order in which that was heard. */
  readonly order: string[] = []
  readonly settled: number[] = []
  readonly log: string[] = []
  readonly #directory = mkdtempSync(join(tmpdir(), 'lightpath-xds-server-'))
  /** Of the server's socket. */
  readonly path = join(this.#directory, 'xds.sock')
  #server: XdsServer | undefined

  get server(): XdsServer {
    if (!this.#server) throw new Error('the xDS server is not started')
    return this.#server
  }

  async start(): Promise<void> {
    this.#server = await startXdsServer({
      storeOf: () => this.store,
      path: this.path,
      observer: {
        connected: client => this.clients.push(client),
        acknowledged: (client, resources) => {
          this.acknowledged.push(...resources.map(ref => ({ client, ...ref })))
          this.order.push(...resources.map(ref => `has ${refKey(ref)} ${ref.version}`))
        },
        gone: (client, refs) => {
          this.gone.push(...refs.map(ref => ({ client, ...ref })))
          this.order.push(...refs.map(ref => `lost ${refKey(ref)}`))
        },
        nacked: (client, nack) => this.nacks.push({ client, ...nack }),
        settled: client => this.settled.push(client),
        active: () => {},
        unknown: () => {},
        disconnected: client => this.disconnected.add(client),
      },
      log: {
        info: (fields, message) => this.log.push(`${message} ${JSON.stringify(fields)}`),
        warn: (fields, message) => this.log.push(`${message} ${JSON.stringify(fields)}`),
      },
    })
  }

  async stop(): Promise<void> {
    await this.#server?.stop()
    this.#server = undefined
  }

  async destroy(): Promise<void> {
    await this.stop()
    rmSync(this.#directory, { recursive: true })
  }

  /** Resources and removals sent so far. */
  resourcesSent(): number {
    return [...this.server.traffic.values()].reduce((sum, { resources }) => sum + resources, 0)
  }

  /** Whether the client, the newest unless told, has acknowledged this version. */
  has({ typeUrl, name, version }: VersionedRef, client = this.clients.at(-1)?.id ?? 0): boolean {
    return this.server.acknowledgedVersion(client, { typeUrl, name }) === version
  }
}

export class Envoy {
  readonly #directory = mkdtempSync(join(tmpdir(), 'lightpath-xds-'))
  readonly #process: ChildProcess
  #admin = ''

  private constructor(xdsPath: string, nodeId: string) {
    const bootstrap = join(this.#directory, 'bootstrap.json')
    writeFileSync(bootstrap, JSON.stringify(bootstrapFor(xdsPath, nodeId)))
    const log = openSync(join(this.#directory, 'log'), 'w')
    const options = ['-c', bootstrap, '--concurrency', '1', '--disable-hot-restart', '-l', 'info']
    const files = ['--admin-address-path', join(this.#directory, 'admin')]
    this.#process = spawn(envoyBinary(), [...options, ...files], { stdio: ['ignore', log, log] })
    closeSync(log)
  }

  /** Resolves when the admin interface listens. */
  static async start(xdsPath: string, nodeId = 'node1'): Promise<Envoy> {
    const envoy = new Envoy(xdsPath, nodeId)
    try {
      await until('Envoy listens', () => existsSync(join(envoy.#directory, 'admin')) && envoy.#readAdmin() !== '')
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${envoy.log()}`)
    }
    return envoy
  }

  #readAdmin(): string {
    this.#admin = readFileSync(join(this.#directory, 'admin'), 'utf8').trim()
    return this.#admin
  }

  log(): string {
    return readFileSync(join(this.#directory, 'log'), 'utf8')
  }

  async get(path: string): Promise<string> {
    return (await fetch(`http://${this.#admin}${path}`)).text()
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const ended = new Promise(resolve => this.#process.once('exit', resolve))
      this.#process.kill('SIGKILL')
      await ended
    }
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

function envoyBinary(): string {
  return process.env.ENVOY_BIN ?? join(homedir(), '.cache/lightpath/envoy-1.40.0')
}

function bootstrapFor(path: string, nodeId: string): object {
  const http2 = { explicit_http_config: { http2_protocol_options: {} } }
  const address = { pipe: { path } }
  return {
    node: { id: nodeId, cluster: 'test' },
    admin: { address: { socket_address: { address: '127.0.0.1', port_value: 0 } } },
    dynamic_resources: {
      ads_config: {
        api_type: 'DELTA_GRPC',
        transport_api_version: 'V3',
        grpc_services: [
          {
            envoy_grpc: {
              cluster_name: 'xds',
              retry_policy: { retry_back_off: { base_interval: '0.1s', max_interval: '0.2s' } },
            },
          },
        ],
      },
      cds_config: { ads: {}, resource_api_version: 'V3' },
      lds_config: { ads: {}, resource_api_version: 'V3' },
    },
    static_resources: {
      clusters: [
        {
          name: 'xds',
          type: 'STATIC',
          connect_timeout: '1s',
          typed_extension_protocol_options: {
            'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
              '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
              ...http2,
            },
          },
          load_assignment: { cluster_name: 'xds', endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] },
        },
      ],
    },
  }
}

/** Polls until the condition holds; after `seconds` it throws with the description. */
export async function until(what: string, condition: () => boolean | Promise<boolean>, seconds = 30): Promise<void> {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(20)) {
    if (await condition()) return
  }
  throw new Error(`not within ${seconds} s: ${what}`)
}
