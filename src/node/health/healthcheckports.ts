/**
 * Serves the `healthCheckNodePort` of each Service that has one: an HTTP server on this node's addresses that answers
 * every path as kube-proxy does, with 200 while there are ready endpoints on this node and the kernel follows, else
 * 503.
 */

import { networkInterfaces } from 'node:os'
import { canonicalIp, type IpFamily } from '../../net/address.ts'
import { contains } from '../../net/cidr.ts'
import { Connections } from '../../observe/http/connections.ts'
import { type Answer, type HttpServer, serveTcp } from '../../observe/http.ts'
import type { Log } from '../../observe/log.ts'
import type { HealthCheck } from '../../plan/endpoints/healthcheck.ts'
import { type Problem, problem } from '../../services/problem.ts'
import { type Retried, startRetrying } from '../tasks/retry.ts'

export interface HealthCheckPortsOptions {
  readonly families: readonly IpFamily[]
  /** Whether the kernel follows what is asked for. */
  readonly isHealthy: () => boolean
  readonly onProblems: (origin: string, problems: readonly Problem[]) => void
  readonly log: Log
  /**
   * Of all Services together, since whoever may make Services has many ports. Each namespace has a share. Default 2048.
   */
  readonly mostConnections?: number
}

interface Opened {
  check: HealthCheck
  readonly server: Retried<HttpServer>
}

const retryMs = 5000
const everyAddress = { IPv4: '0.0.0.0', IPv6: '::' } as const
const everyRange = { IPv4: '0.0.0.0/0', IPv6: '::/0' } as const

export class HealthCheckPorts {
  readonly #options: HealthCheckPortsOptions
  /** By namespace/name. */
  readonly #wanted = new Map<string, readonly HealthCheck[]>()
  /** By origin of problems. */
  readonly #opened = new Map<string, Opened>()
  readonly #connections: Connections
  #ranges: readonly string[] = Object.values(everyRange)
  #isOpen = false
  /** A port may go from one Service to another: opening waits for closing. */
  #closing: Promise<unknown> = Promise.resolve()

  constructor(options: HealthCheckPortsOptions) {
    this.#options = options
    this.#connections = new Connections(options.mostConnections ?? 2048)
  }

  /** Replaces the health checks of a Service. */
  set(service: string, checks: readonly HealthCheck[]): void {
    const before = this.#wanted.get(service) ?? []
    if (checks.length > 0) this.#wanted.set(service, checks)
    else this.#wanted.delete(service)
    if (!this.#isOpen) return
    for (const old of before) if (!checks.some(check => isSameServer(check, old))) this.#close(originOf(old))
    for (const check of checks) this.#open(check)
  }

  /** Where to listen: on the node's addresses in these ranges, those that open node ports. Canonical CIDRs. */
  setRanges(ranges: readonly string[]): void {
    if (ranges.join() === this.#ranges.join()) return
    this.#ranges = ranges
    for (const origin of [...this.#opened.keys()]) this.#close(origin)
    if (this.#isOpen) this.open()
  }

  /** The kernel has the Services for the first time: load balancers may send traffic. */
  open(): void {
    this.#isOpen = true
    for (const checks of this.#wanted.values()) for (const check of checks) this.#open(check)
  }

  async stop(): Promise<void> {
    this.#isOpen = false
    for (const origin of [...this.#opened.keys()]) this.#close(origin)
    await this.#closing
  }

  #open(check: HealthCheck): void {
    if (!this.#options.families.includes(check.family)) return
    const origin = originOf(check)
    const known = this.#opened.get(origin)
    if (known) {
      known.check = check
      return
    }
    const server = startRetrying({
      start: () => this.#listen(check, () => this.#answer(this.#opened.get(origin)?.check ?? check)),
      everyMs: retryMs,
      // A kube-proxy that hands the Service over still has the port for a moment.
      quietFailures: 1,
      problem: error => notOpened(check, error),
      onProblems: problems => this.#options.onProblems(origin, problems),
    })
    this.#opened.set(origin, { check, server })
  }

  /** Listens on all addresses or on none. */
  async #listen({ namespace, family, port }: HealthCheck, answer: () => Answer): Promise<HttpServer> {
    await this.#closing
    const addresses = localAddresses(this.#ranges, family)
    if (addresses.length === 0) throw new Error(`no address of this node is in ${this.#ranges.join(', ')}`)
    const servers: HttpServer[] = []
    const stop = async () => void (await Promise.all(servers.map(server => server.stop())))
    try {
      for (const address of addresses) {
        const where = {
          address,
          port,
          ipv6Only: true,
          sharedBound: { connections: this.#connections, owner: namespace },
        }
        servers.push(await serveTcp({ '*': answer }, where, this.#options.log))
      }
    } catch (error) {
      await stop()
      throw error
    }
    return { stop }
  }

  #close(origin: string): void {
    const opened = this.#opened.get(origin)
    if (!opened) return
    this.#opened.delete(origin)
    const closed = opened.server.stop().then(async server => {
      await server?.stop()
      // A start that was under way may have reported meanwhile.
      if (!this.#opened.has(origin)) this.#options.onProblems(origin, [])
    })
    this.#closing = Promise.all([this.#closing, closed])
  }

  #answer({ namespace, name, localEndpoints }: HealthCheck): Answer {
    const serviceProxyHealthy = this.#options.isHealthy()
    return {
      status: localEndpoints > 0 && serviceProxyHealthy ? 200 : 503,
      contentType: 'application/json',
      headers: { 'x-content-type-options': 'nosniff', 'x-load-balancing-endpoint-weight': String(localEndpoints) },
      body: JSON.stringify({ service: { namespace, name }, localEndpoints, serviceProxyHealthy }, null, '\t'),
    }
  }
}

function originOf({ namespace, name, family }: HealthCheck): string {
  return `health check ${namespace}/${name} ${family}`
}

function isSameServer(a: HealthCheck, b: HealthCheck): boolean {
  return a.family === b.family && a.port === b.port
}

function notOpened({ namespace, name, port }: HealthCheck, error: Error): Problem {
  const remedy =
    'load balancers take this node for one without endpoints; free the port or correct that, it is tried again'
  return problem('LP502', `Service ${namespace}/${name}`, `healthCheckNodePort ${port}: ${error.message}`, remedy)
}

function localAddresses(ranges: readonly string[], family: IpFamily): readonly string[] {
  if (ranges.includes(everyRange[family])) return [everyAddress[family]]
  const own = Object.values(networkInterfaces()).flatMap(addresses => addresses ?? [])
  const ips = own.filter(address => address.family === family).map(({ address }) => canonicalIp(address)!)
  return [...new Set(ips)].filter(ip => ranges.some(range => contains(range, ip)))
}
