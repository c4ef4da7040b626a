/**
 * Collects what the agent knows of one Service: what was asked for, and what Envoy and the kernel got and confirmed.
 */

import { type EndpointHealth, endpointHealth } from '../../../envoy/program/admin.ts'
import { externalId } from '../../../envoy/resources/frontend.ts'
import type { IpFamily } from '../../../net/address.ts'
import { explainService, type ServiceExplanation } from '../../../plan/explain.ts'
import type { RedirectExemptPod } from '../../../plan/policies.ts'
import type { PortState } from '../../../plan/ports/port.ts'
import type { Problem } from '../../../services/problem.ts'
import type { Agent } from '../../agent.ts'
import type { EnvoyView } from '../../envoy/view.ts'
import type { ClientAddressChoice } from '../../probes/clientaddress.ts'
import type { PathState } from '../../probes/watch.ts'
import { type Speeds, watchSpeeds } from './latencies.ts'

export interface KernelView {
  /** `map element` as in the kernel, such as `services 10.0.0.1 . tcp . 80 : goto endpoints-3`; long ones in lines. */
  readonly elements: readonly string[]
  readonly confirmed: boolean
  readonly problem: Problem | undefined
}

export interface Explanation {
  readonly node: string
  readonly service: ServiceExplanation
  readonly clientAddress: ClientAddressChoice
  /** As in `--proxy-mode`. */
  readonly proxyMode: string
  /** Whether this node serves external clients. */
  readonly servesExternal: boolean
  /** Whether connections of pods reach Envoy, by family of the Service. */
  readonly paths: Readonly<Partial<Record<IpFamily, PathState>>>
  /** People have switched the overlay of this node off. */
  readonly overlayOff: boolean
  /** Pods of this node whose connections stay in the kernel layer, whatever the Service. */
  readonly redirectExemptPods: readonly RedirectExemptPod[]
  readonly envoy: { readonly up: boolean; readonly versions: readonly string[] }
  /** The frontends by id (envoy/resources/frontend.ts); the port's id is that of its VIP. */
  readonly envoyPorts: Readonly<Record<string, EnvoyView>>
  /** What the kernel has, by port state id. */
  readonly kernelPorts: Readonly<Record<string, KernelView>>
  /** How Envoy judges each endpoint, by the same id and `address:port`; empty where Envoy does not answer. */
  readonly health: Readonly<Record<string, Readonly<Record<string, EndpointHealth>>>>
  /** How fast endpoints answer, where Envoy has the module. */
  readonly speeds: Speeds
  /**
   * By port state id, open connections that began in the kernel layer and stay there though the port is in Envoy; if
   * any.
   */
  readonly connectionsBelow: Readonly<Record<string, number>>
  readonly problems: readonly Problem[]
}

/** Returns undefined for a Service that the agent does not know. */
export async function explain(
  agent: Agent,
  node: string,
  namespace: string,
  name: string,
): Promise<Explanation | undefined> {
  const view = agent.plan.view(namespace, name)
  if (!view) return undefined
  const service = explainService(view)
  const ids = service.ports.map(({ id }) => id)
  const frontends = ids.flatMap(id => [id, externalId(id)])
  const envoyPorts = Object.fromEntries(frontends.flatMap(id => entry(id, agent.envoy.view(id))))
  const kernelPorts = Object.fromEntries(ids.flatMap(id => entry(id, kernelView(agent, id))))
  const health = Object.fromEntries(
    await Promise.all(Object.entries(envoyPorts).map(async ([id, view]) => [id, await healthIn(agent, view)] as const)),
  )
  const inEnvoy = view.ports.filter(({ id }) => envoyPorts[id]?.up)
  const speeds = await watchSpeeds(agent.envoyDirectory, inEnvoy)
  const connectionsBelow = Object.fromEntries(
    (await Promise.all(inEnvoy.map(async state => [state.id, await below(agent, state)] as const))).filter(
      ([, count]) => count > 0,
    ),
  )
  const envoy = {
    up: agent.envoy.envoys.isUp,
    versions: agent.envoy.envoys.all.map(({ envoyVersion }) => envoyVersion),
  }
  const paths = Object.fromEntries(service.ports.map(({ family }) => [family, agent.pathOf(family)]))
  const redirectExemptPods = agent.policies.clients()
  const problems = agent.problems.of(`Service ${namespace}/${name}`)
  return {
    node,
    service,
    clientAddress: agent.clientAddress,
    proxyMode: agent.backend.name,
    servesExternal: agent.backend.capabilities.servesExternal,
    paths,
    overlayOff: agent.overlaySwitch.isOff,
    redirectExemptPods,
    envoy,
    envoyPorts,
    kernelPorts,
    health,
    speeds,
    connectionsBelow,
    problems,
  }
}

async function healthIn({ adminSockets }: Agent, { resources }: EnvoyView) {
  const cluster = resources.find(({ type }) => type === 'cluster')
  return cluster ? endpointHealth(adminSockets, cluster.name) : {}
}

/** Counts none where conntrack cannot be read. */
function below(agent: Agent, state: PortState): Promise<number> {
  return agent.connectionsBelow(state).catch(() => 0)
}

function entry<T>(id: string, view: T | undefined): readonly (readonly [string, T])[] {
  return view === undefined ? [] : [[id, view]]
}

function kernelView(agent: Agent, id: string): KernelView | undefined {
  const snapshot = agent.kernel.snapshot(id)
  if (!snapshot) return undefined
  const elements = snapshot.elements.flatMap(element => element.split('\n'))
  return { elements, confirmed: !snapshot.pending && !snapshot.problem, problem: snapshot.problem }
}
