/** Reacts to each event of the node. */

import type { Flush, SyncResult } from '../kernel/layer.ts'
import type { IpFamily } from '../net/address.ts'
import { observationOf } from '../observe/accesslog/observations.ts'
import { failureOf, type LogRecord } from '../observe/accesslog/records.ts'
import type { Log } from '../observe/log.ts'
import type { KubeProxyMetrics } from '../observe/metrics/kubeproxy-metrics.ts'
import type { Metrics } from '../observe/metrics/metrics.ts'
import type { ProblemRegistry } from '../observe/problems.ts'
import type { Delivery } from './delivery.ts'
import type { NodeEvent } from './events.ts'
import { frontendOf } from './frontends.ts'
import type { RedirectMove } from './lifecycle/redirectset.ts'
import type { AgentOptions } from './options.ts'
import type { AgentParts } from './parts.ts'
import type { Programming } from './report/metrics/programming.ts'
import { rebalance } from './use/rebalance.ts'

export interface ReactionsOptions extends AgentOptions {
  readonly metrics: Metrics
  readonly kubeProxyMetrics: KubeProxyMetrics
  readonly programming: Programming
  readonly delivery: Delivery
  readonly problems: ProblemRegistry
  readonly log: Log
}

export class Reactions {
  readonly #options: ReactionsOptions
  readonly #parts: AgentParts
  #isEnvoyUp: boolean | undefined

  constructor(options: ReactionsOptions, parts: AgentParts) {
    this.#options = options
    this.#parts = parts
  }

  react(event: NodeEvent): void {
    const { envoy, path, podRules, plan, overlaySwitch } = this.#parts
    const { metrics, kubeProxyMetrics, programming, delivery, problems, log } = this.#options
    switch (event.type) {
      case 'problems':
        problems.set(event.origin, event.problems)
        break
      case 'kernel applied':
        programming.kernelApplied(event.ports)
        envoy.kernelSynced(event.ports)
        break
      case 'kernel flushed':
        this.#kernelFlushed(event.family, event.flush)
        break
      case 'kernel drift':
        metrics.driftCorrections.inc()
        log.warn({ what: event.what }, 'somebody else changed rules of ours; they are corrected')
        break
      case 'kernel sync':
        this.#kernelSynced(event.family, event.result)
        break
      case 'kernel reconciled':
        kubeProxyMetrics.reconciled(event.families)
        break
      case 'overlay switched':
        overlaySwitch.set(event.family, event.isOff)
        break
      case 'foreign rules':
        podRules.changed()
        break
      case 'Envoy connected':
        this.#proveClientAddress()
        break
      case 'Envoy up':
        this.#envoyUp(event.up)
        break
      case 'Envoy overloaded':
        void this.#parts.overload.relieve(event.shortage)
        break
      case 'Envoy listening':
        if (this.#options.pathTest) path.listeningChanged()
        else for (const family of this.#options.families) envoy.setPath(family, true)
        break
      case 'redirect port changed':
        envoy.portChanged()
        break
      case 'xDS server failed':
        // No Envoy can confirm what a previous run redirected.
        envoy.redirects.dropUnconfirmed()
        break
      case 'frontends moved':
        this.#moved(event.ids, event.move)
        break
      case 'frontend programmed':
        programming.envoyHas(event.id, event.ms)
        break
      case 'resource rejected':
        metrics.nacks.inc({ service_port: event.servicePort })
        break
      case 'request logged':
        this.#requestLogged(event.servicePort, event.record)
        break
      case 'observation':
        this.#observed(event.servicePort, event.record)
        break
      case 'request not logged':
        metrics.leftOutOfAccessLog.inc({ service_port: event.servicePort })
        break
      case 'endpoint ejected':
        metrics.comparedEjections.inc({ service_port: event.servicePort })
        break
      case 'pods differ':
        path.podsDiffer()
        this.#proveClientAddress()
        break
      case 'budget moved':
        delivery.update(plan.budgeted(event.ids))
        break
      case 'handover over':
        delivery.update(plan.release(event.service))
        break
    }
  }

  #kernelFlushed(family: IpFamily, { ports, added, removed, bytes, milliseconds }: Flush): void {
    this.#options.metrics.transactions.observe(milliseconds / 1000)
    const counts = { family, ports: ports.length, added, removed, bytes, milliseconds }
    this.#options.log.debug(counts, `${this.#options.backend.name} transaction`)
  }

  #kernelSynced(family: IpFamily, result: SyncResult): void {
    this.#options.kubeProxyMetrics.syncResult(family, result)
    if (result.ok && this.#parts.health.lastSynced === undefined) this.#parts.healthChecks.open()
    this.#parts.health.syncResult(family, result, performance.now())
  }

  #envoyUp(up: boolean): void {
    if (up === this.#isEnvoyUp) return
    this.#isEnvoyUp = up
    this.#parts.moves.envoy(up)
    if (up) this.#options.log.info({}, 'Envoy is up: what it has acknowledged goes to it')
    else this.#options.log.warn({}, 'Envoy is down or not connected: the kernel layer serves all Services')
  }

  #moved(ids: readonly string[], move: RedirectMove): void {
    this.#parts.moves.moved(ids, move)
    if (move !== 'promoted') return
    const frontends = ids.map(id => frontendOf(this.#parts.plan, id)).filter(frontend => frontend !== undefined)
    void rebalance(frontends, { ...this.#options, kernel: this.#parts.kernel })
  }

  #requestLogged(servicePort: string, record: LogRecord): void {
    const failure = failureOf(record)
    if (!failure) return
    if (failure.unreached !== undefined) this.#parts.exclusions.suspect(failure.unreached)
    this.#parts.ejections.failed(servicePort)
    this.#parts.cutConnections.failed(servicePort, failure)
    this.#parts.lastingConnections.failed(servicePort, failure)
  }

  #observed(servicePort: string, record: LogRecord): void {
    const observation = observationOf(record)
    if (observation?.what === 'spoke') void this.#parts.misnamed.observed(servicePort, observation.spoke)
    if (observation?.what !== 'lost') return
    this.#options.metrics.lostRequests.inc({ service_port: servicePort, reason: observation.loss })
    this.#parts.lostRequests.lost(servicePort, observation.loss)
  }

  #proveClientAddress(): void {
    if (this.#options.provesClientAddress) this.#parts.proof.probe()
  }
}
