/** The metrics of a control plane. Their labels are types of facts and status codes: nothing that names an object or a node. */

import { status } from '@grpc/grpc-js'
import { Counter, Gauge, Registry } from 'prom-client'
import type { Exclusion } from '../exclusions/exclusion.ts'
import { type FactType, factTypes } from '../facts/types.ts'
import { watchLoopDelay } from '../observe/metrics/loop-delay.ts'
import type { Freshness } from './knowledge/freshness.ts'

/** What a control plane has and has done since its start. */
export interface Readings {
  readonly streams: number
  /** Nodes whose agents have a stream. */
  readonly nodes: number
  readonly resources: (type: FactType) => number
  readonly sent: { readonly responses: number; readonly bytes: number }
  /** Streams that were refused or ended from here, by status code. */
  readonly ended: ReadonlyMap<status, number>
  readonly freshness: Freshness
  readonly exclusions: readonly Exclusion[]
}

export function controlPlaneMetrics(read: () => Readings): Registry {
  const registry = new Registry()
  const registers = [registry]
  /** No sample for what is not known. */
  const gauge = (name: string, help: string, value: (readings: Readings) => number | undefined) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        const now = value(read())
        if (now === undefined) this.remove()
        else this.set(now)
      },
    })
  const counter = (name: string, help: string, value: (readings: Readings) => number) =>
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset()
        this.inc(value(read()))
      },
    })
  gauge('lightpath_controlplane_streams', 'Streams of agents that are served.', ({ streams }) => streams)
  gauge('lightpath_controlplane_nodes', 'Nodes whose agents are served.', ({ nodes }) => nodes)
  counter('lightpath_controlplane_responses_total', 'Responses sent to agents.', ({ sent }) => sent.responses)
  counter('lightpath_controlplane_sent_bytes_total', 'Bytes of these responses.', ({ sent }) => sent.bytes)
  gauge(
    'lightpath_controlplane_synced_timestamp_seconds',
    'When the API server said something last; absent where it never has.',
    ({ freshness: { seen } }) => seen && seen / 1000,
  )
  gauge(
    'lightpath_controlplane_facts_age_seconds',
    'How long ago the API server said last that the facts are its own: 0 while it can be read, absent where nothing is known.',
    ({ freshness: { ageMs } }) => ageMs && ageMs / 1000,
  )
  gauge(
    'lightpath_event_loop_delay_seconds',
    'The longest time that the control plane did nothing else, since this page was last made.',
    watchLoopDelay(),
  )
  new Gauge({
    name: 'lightpath_controlplane_resources',
    help: 'Resources that the control plane has, by type.',
    registers,
    labelNames: ['type'],
    collect() {
      const { resources } = read()
      for (const type of factTypes) this.set({ type }, resources(type))
    },
  })
  new Gauge({
    name: 'lightpath_controlplane_excluded',
    help: 'Endpoints and nodes that most nodes which use them cannot reach, as far as the control plane hears them.',
    registers,
    labelNames: ['of'],
    collect() {
      const { exclusions } = read()
      for (const kind of ['endpoint', 'node']) this.set({ of: kind }, exclusions.filter(({ of }) => of === kind).length)
    },
  })
  new Counter({
    name: 'lightpath_controlplane_ended_streams_total',
    help: 'Streams that the control plane refused or ended, by status code of gRPC.',
    registers,
    labelNames: ['code'],
    collect() {
      this.reset()
      for (const [code, count] of read().ended) this.inc({ code: status[code] }, count)
    },
  })
  return registry
}
