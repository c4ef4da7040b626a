/** The agent's own metrics, in Prometheus' format. Names and meaning: docs/operations.md. */

import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { watchLoopDelay } from './loop-delay.ts'

/** Values that are read when somebody asks. */
export interface Readings {
  readonly objects: () => Readonly<Record<string, number>>
  readonly overlayEntries: () => number
  readonly draining: () => number
  readonly waiting: () => number
  readonly kernelElements: () => number
  readonly envoyUp: () => boolean
  /** Eligible unlabelled Services: admission would have handed them over. */
  readonly eligible: () => number
  /** Pods of this node whose connections stay in the kernel layer. */
  readonly redirectExemptPods: () => number
  /** What other nodes have found dead, by what it is. */
  readonly excluded: () => readonly (readonly [of: string, count: number])[]
  /** Whether the path from pods to Envoy is open, by IP family. */
  readonly paths: () => readonly (readonly [family: string, open: boolean])[]
  readonly problems: () => ReadonlyMap<string, number>
  readonly overlayOff: () => boolean
  /** Traffic of the xDS server since its start, by type URL. */
  readonly xds: () => ReadonlyMap<string, XdsTraffic>
}

interface XdsTraffic {
  readonly requests: number
  readonly responses: number
  readonly nacks: number
  readonly bytes: number
}

export type Metrics = ReturnType<typeof createMetrics>

export function createMetrics(readings: Readings) {
  const registers = [new Registry()]
  /** Series that name Services, which not everybody may read. */
  const services = new Registry()
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read())
      },
    })
  const labelled = (name: string, help: string, label: string, read: () => Iterable<readonly [string, number]>) =>
    new Gauge({
      name,
      help,
      registers,
      labelNames: [label],
      collect() {
        this.reset()
        for (const [value, count] of read()) this.set({ [label]: value }, count)
      },
    })

  labelled('lightpath_objects', 'Objects that the agent knows.', 'kind', () => Object.entries(readings.objects()))
  labelled('lightpath_problems', 'Problems there are now, by code (docs/errors.md).', 'code', readings.problems)
  gauge(
    'lightpath_event_loop_delay_seconds',
    'The longest time that the agent did nothing else, since this page was last made.',
    watchLoopDelay(),
  )
  gauge('lightpath_overlay_off', 'Whether people have switched the overlay of this node off.', () =>
    Number(readings.overlayOff()),
  )
  gauge('lightpath_overlay_entries', 'VIP:ports that go to Envoy.', readings.overlayEntries)
  gauge(
    'lightpath_draining_ports',
    'Service ports that left Envoy and are kept there until nothing uses them.',
    readings.draining,
  )
  gauge(
    'lightpath_waiting_ports',
    'Service ports that are for Envoy and wait in the kernel layer, since it has no room for all (--envoy-ports).',
    readings.waiting,
  )
  gauge('lightpath_kernel_elements', 'Elements in the sets and maps of table lightpath.', readings.kernelElements)
  gauge('lightpath_envoy_up', "Whether this node's Envoy is connected and answers.", () => Number(readings.envoyUp()))

  gauge(
    'lightpath_eligible_services',
    'With --services=labelled: Services that admission would have handed over and that lack the label.',
    readings.eligible,
  )
  gauge(
    'lightpath_redirect_exempt_pods',
    'Pods of this node whose connections stay in the kernel layer: NetworkPolicies with egress, opt-out.',
    readings.redirectExemptPods,
  )
  labelled('lightpath_excluded', 'Endpoints and nodes that other nodes have found dead.', 'of', readings.excluded)
  labelled('lightpath_path_open', 'Whether connections of pods reach Envoy, by IP family.', 'family', () =>
    readings.paths().map(([family, open]) => [family, Number(open)] as const),
  )

  const xdsCounter = (name: string, help: string, value: (traffic: XdsTraffic) => number) =>
    new Counter({
      name,
      help,
      registers,
      labelNames: ['type'],
      collect() {
        this.reset()
        for (const [typeUrl, traffic] of readings.xds()) {
          this.inc({ type: typeUrl.slice(typeUrl.lastIndexOf('.') + 1) }, value(traffic))
        }
      },
    })
  xdsCounter('lightpath_xds_requests_total', 'xDS requests, by type of resource.', traffic => traffic.requests)
  xdsCounter('lightpath_xds_responses_total', 'xDS responses, by type of resource.', traffic => traffic.responses)
  xdsCounter('lightpath_xds_nacks_total', 'xDS responses that Envoy rejected.', traffic => traffic.nacks)
  xdsCounter('lightpath_xds_sent_bytes_total', 'Bytes of xDS responses.', traffic => traffic.bytes)

  return {
    registry: registers[0]!,
    services,
    changes: new Counter({
      name: 'lightpath_changes_total',
      help: 'Changes told by the source, by kind of object.',
      labelNames: ['kind'],
      registers,
    }),
    programming: new Histogram({
      name: 'lightpath_programming_duration_seconds',
      help: 'From the arrival of a change to its being in effect in a layer: acknowledged by Envoy, or in the kernel.',
      labelNames: ['layer'],
      buckets: [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 15, 60],
      registers,
    }),
    transactions: new Histogram({
      name: 'lightpath_kernel_transaction_seconds',
      help: 'Duration of nftables transactions.',
      buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 15],
      registers,
    }),
    driftCorrections: new Counter({
      name: 'lightpath_kernel_drift_corrections_total',
      help: 'How often somebody else had changed the rules of the kernel layer, and they were corrected.',
      registers,
    }),
    leftOutOfAccessLog: new Counter({
      name: 'lightpath_access_log_left_out_total',
      help: 'Lines that the access log does not have because there were too many, by Service port.',
      labelNames: ['service_port'],
      registers: [services],
    }),
    lostRequests: new Counter({
      name: 'lightpath_lost_requests_total',
      help: 'Requests that Envoy lost and kube-proxy would not have, by Service port and reason.',
      labelNames: ['service_port', 'reason'],
      registers: [services],
    }),
    comparedEjections: new Counter({
      name: 'lightpath_compared_ejections_total',
      help: 'Endpoints ejected since they failed far more than the others, by Service port.',
      labelNames: ['service_port'],
      registers: [services],
    }),
    nacks: new Counter({
      name: 'lightpath_xds_rejected_resources_total',
      help: 'Resources that Envoy rejected (NACK), by Service port.',
      labelNames: ['service_port'],
      registers: [services],
    }),
  }
}
