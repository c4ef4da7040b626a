/** Collects what the agent knows of its node: the node at a glance, and a row for each Service port. */

import packageJson from '../../../../package.json' with { type: 'json' }
import type { Instance } from '../../../envoy/program/sockets.ts'
import { type Frontend, frontendsOf } from '../../../envoy/resources/frontend.ts'
import { describeExclusion } from '../../../exclusions/text.ts'
import type { IpFamily } from '../../../net/address.ts'
import type { RedirectExemptPod } from '../../../plan/policies.ts'
import { isForEnvoy, type PortState } from '../../../plan/ports/port.ts'
import { portLabel } from '../../../services/objects/service.ts'
import type { Problem } from '../../../services/problem.ts'
import type { EnvoyProtocol } from '../../../services/settings/envoyprotocol.ts'
import type { Agent } from '../../agent.ts'
import type { EnvoyState } from '../../envoy/envoys.ts'
import type { PathState } from '../../probes/watch.ts'
import { eligibleServices } from '../eligible.ts'

/** Ports that are meant for Envoy and stay in the kernel layer for the same reason. */
export interface Waiting {
  readonly reason: string
  readonly count: number
  /** Ids of the first few. */
  readonly examples: readonly string[]
}

export interface NodeStatus {
  readonly node: string
  readonly version: string
  /** The source has reported everything that existed at the start; before that, Envoy and the kernel get nothing. */
  readonly synced: boolean
  readonly objects: { readonly services: number; readonly endpointSlices: number; readonly ports: number }
  readonly envoy: {
    readonly up: boolean
    /** `connectedSince` in ISO 8601. */
    readonly clients: readonly {
      readonly nodeId: string
      readonly version: string
      readonly state: EnvoyState
      readonly instance: Instance
      readonly connectedSince: string
    }[]
  }
  /** Whether connections of pods reach Envoy, by IP family. */
  readonly paths: Readonly<Partial<Record<IpFamily, PathState>>>
  /** Pods of this node whose connections stay in the kernel layer; the first few as examples. */
  readonly redirectExemptPods: { readonly count: number; readonly examples: readonly RedirectExemptPod[] }
  /**
   * People have switched the overlay off: the kernel layer serves all new connections, also those to promoted ports.
   */
  readonly overlayOff: boolean
  /** Service ports of each layer, as they are now; those that wait count as `kernel`. */
  readonly layers: { readonly envoy: number; readonly kernel: number; readonly draining: number }
  readonly waiting: readonly Waiting[]
  /** With `--services=labelled`: Services that kube-proxy serves, though admission would have handed them over. */
  readonly eligible: { readonly count: number; readonly examples: readonly string[] }
  /** Endpoints and nodes that other nodes have found dead; the first few as examples. */
  readonly excluded: { readonly count: number; readonly examples: readonly ExcludedThing[] }
  /** In the order in which they were reported. */
  readonly problems: readonly Problem[]
}

interface ExcludedThing {
  /** `node node4`, `endpoint 10.244.1.7:8080`. */
  readonly what: string
  readonly why: string
}

/** A Service port for one IP family, or a Service without a served port (`port` undefined). */
export interface ServiceRow {
  readonly namespace: string
  readonly name: string
  readonly port:
    | { readonly id: string; readonly name: string; readonly number: number; readonly protocol: string }
    | undefined
  readonly vip: string | undefined
  /** `waiting`: meant for Envoy, served by the kernel layer for now. */
  readonly layer: 'envoy' | 'kernel' | 'waiting' | 'not served'
  /** The layer of its external addresses; undefined where it has none. */
  readonly external: ServiceRow['layer'] | undefined
  /** The protocol as which Envoy serves it, or will. */
  readonly protocol: EnvoyProtocol | undefined
  /** How many endpoints this node may use. */
  readonly endpoints: number
  /** Problems of the Service. */
  readonly problems: readonly Problem['code'][]
  /**
   * Why the kernel layer serves it, or it waits until it is called; undefined where Envoy serves it or nothing does.
   */
  readonly why: string | undefined
}

const maxExamples = 3

const switchedOff = 'the overlay of this node is switched off (LP408)'

export function nodeStatus(agent: Agent, node: string): NodeStatus {
  const redirectExemptPods = agent.policies.clients()
  const states = [...agent.plan.states()]
  const eligible = eligibleServices(agent.plan)
  const up = states.filter(({ id }) => isUp(id, agent)).length
  const clients = agent.envoy.envoys.all.map(({ id, nodeId, envoyVersion, instance, connectedSince }) => {
    const state = agent.envoy.envoys.stateOf(id)
    return { nodeId, version: envoyVersion, state, instance, connectedSince: connectedSince.toISOString() }
  })
  return {
    node,
    version: packageJson.version,
    synced: agent.isSynced,
    objects: agent.plan.counts(),
    envoy: { up: agent.envoy.envoys.isUp, clients },
    paths: Object.fromEntries(agent.families.map(family => [family, agent.pathOf(family)])),
    redirectExemptPods: { count: redirectExemptPods.length, examples: redirectExemptPods.slice(0, maxExamples) },
    overlayOff: agent.overlaySwitch.isOff,
    layers: { envoy: up, kernel: states.length - up, draining: agent.envoy.draining },
    waiting: waitingByReason(states, agent),
    eligible: { count: eligible.length, examples: eligible.slice(0, maxExamples) },
    excluded: {
      count: agent.exclusions.all.length,
      examples: agent.exclusions.all
        .slice(0, maxExamples)
        .map(one => ({ what: `${one.of} ${one.name}`, why: describeExclusion(one) })),
    },
    problems: agent.problems.all(),
  }
}

/** Rows in order of namespace, name and port; of one namespace if one is given. */
export function serviceRows(agent: Agent, namespace: string | undefined): readonly ServiceRow[] {
  const codes = new Map<string, Set<Problem['code']>>()
  for (const { object, code } of agent.problems.all()) codes.set(object, (codes.get(object) ?? new Set()).add(code))
  const problemsOf = (service: string) => [...(codes.get(`Service ${service}`) ?? [])].sort()

  const states = [...agent.plan.states()]
  const served = new Set(states.map(({ namespace, name }) => `${namespace}/${name}`))
  const unserved = agent.facts.services.names().filter(service => !served.has(service))
  const rows = [
    ...states.map(state => rowOf(state, agent, problemsOf(`${state.namespace}/${state.name}`))),
    ...unserved.map(service => rowWithoutPort(service, problemsOf(service))),
  ]
  return rows.filter(row => namespace === undefined || row.namespace === namespace).sort(byName)
}

function rowOf(state: PortState, agent: Agent, problems: ServiceRow['problems']): ServiceRow {
  const { id, namespace, name, port, vip, layer, endpoints } = state
  const [, external] = frontendsOf(state)
  return {
    namespace,
    name,
    port: { id, name: portLabel(port), number: port.port, protocol: port.protocol },
    vip,
    layer: layerOf(state, agent),
    external: external && (agent.backend.capabilities.servesExternal ? layerOf(external, agent) : 'not served'),
    protocol: layer.wants === 'envoy' ? layer.protocol : layer.waitsAs,
    endpoints: endpoints.length,
    problems,
    why: layer.wants === 'kernel' ? layer.reason : agent.overlaySwitch.isOff ? switchedOff : undefined,
  }
}

function layerOf({ id, layer }: Frontend, agent: Agent): 'envoy' | 'kernel' | 'waiting' {
  if (!isForEnvoy(layer)) return 'kernel'
  return isUp(id, agent) ? 'envoy' : 'waiting'
}

/** New connections go to Envoy. */
function isUp(id: string, agent: Agent): boolean {
  return agent.envoy.isRedirected(id) && !agent.overlaySwitch.isOff
}

function rowWithoutPort(service: string, problems: ServiceRow['problems']): ServiceRow {
  const [namespace = '', name = ''] = service.split('/')
  const nothing = {
    port: undefined,
    vip: undefined,
    external: undefined,
    protocol: undefined,
    endpoints: 0,
    why: undefined,
  }
  return { namespace, name, ...nothing, layer: 'not served', problems }
}

function byName(a: ServiceRow, b: ServiceRow): number {
  const [first, second] = [a, b].map(({ namespace, name, port }) => [namespace, name, port?.id ?? ''].join(' '))
  return first! < second! ? -1 : 1
}

function waitingByReason(states: readonly PortState[], agent: Agent): readonly Waiting[] {
  const ids = new Map<string, string[]>()
  for (const { id, family, layer } of states.flatMap(frontendsOf)) {
    if (!isForEnvoy(layer) || isUp(id, agent)) continue
    const reason = layer.wants === 'kernel' ? layer.reason : whyWaiting(id, family, agent)
    const same = ids.get(reason)
    if (same) same.push(id)
    else ids.set(reason, [id])
  }
  return [...ids].map(([reason, all]) => ({ reason, count: all.length, examples: all.slice(0, maxExamples) }))
}

function whyWaiting(id: string, family: IpFamily, agent: Agent): string {
  if (!agent.isSynced) return 'the source has not told all Services yet'
  if (agent.overlaySwitch.isOff) return switchedOff
  if (!agent.envoy.envoys.isUp) return 'Envoy is down or not connected'
  if (!agent.envoy.isPortEnvoys) return "another process listens on Envoy's port (LP305)"
  const statuses = (agent.envoy.view(id)?.resources ?? []).map(({ status }) => status)
  if (statuses.includes('refused')) return 'Envoy refused its configuration'
  if (statuses.includes('not yet acknowledged')) return 'Envoy has not acknowledged all of it yet'
  const path = agent.pathOf(family)
  if (path.outcome === 'blocked') return `${family} connections of pods do not reach Envoy on this node (LP402)`
  if (path.outcome === 'absent') return `this node has no ${family} address`
  if (path.outcome === 'untested') return 'the path from pods to Envoy is being tested'
  return "about to move to Envoy, or Envoy's own listeners are missing"
}
