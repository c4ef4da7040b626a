/** Judges what is well on a node that runs Lightpath, what is not, and what to do. Pure. */

import type { OurPod } from '../cluster/agents.ts'
import type { NodeStatus } from '../node/report/answers/status.ts'
import { type Check, fails, ok, warning } from '../preflight/check.ts'
import type { Layer, RequestResult } from './probe.ts'
import type { NodeRequests } from './requests.ts'

export interface NodeFacts {
  readonly node: string
  readonly isReady: boolean
  readonly agent: OurPod | undefined
  readonly envoy: OurPod | undefined
  /** The version that its agent reports. */
  readonly status: NodeStatus | { readonly error: string }
  readonly requests: NodeRequests
}

/** How many problems of a node are named; the rest is counted. */
const maxProblems = 5

const describePod = (name: string) => `kubectl -n lightpath-system describe pod ${name}`

/** @param version the one that most nodes have */
export function checksOf(facts: NodeFacts, version: string | undefined): readonly Check[] {
  const { node, isReady, agent, envoy, status } = facts
  if (!isReady) return [fails('node', 'it is not ready', `kubectl describe node ${node}`)]
  const pods = [podCheck('agent', agent, 'lightpath-node'), podCheck('Envoy', envoy, 'lightpath-proxy')]
  if ('error' in status) {
    if (pods[0]!.outcome === 'fails') return pods
    const remedy = 'kubectl -n lightpath-system logs daemonset/lightpath-node'
    return [...pods, fails('status', status.error, remedy), ...requestChecks(facts.requests)]
  }
  return [
    ...pods,
    versionCheck(status, version),
    ...envoyChecks(status),
    ...pathChecks(status),
    ...problemChecks(status),
    ...requestChecks(facts.requests, status.overlayOff),
  ]
}

function podCheck(name: string, pod: OurPod | undefined, daemonSet: string): Check {
  if (!pod) return fails(name, 'it has no pod here', `kubectl -n lightpath-system describe daemonset ${daemonSet}`)
  if (!pod.isReady) return fails(name, `its pod is not ready: ${pod.state}`, describePod(pod.name))
  return ok(name, `pod ${pod.name} is ready`)
}

function versionCheck({ version }: NodeStatus, usual: string | undefined): Check {
  if (usual === undefined || version === usual) return ok('version', version)
  return warning('version', `${version}, where most nodes have ${usual}`, 'end the upgrade, or roll it back')
}

function envoyChecks({ envoy: { up, clients }, overlayOff, synced }: NodeStatus): readonly Check[] {
  const told = synced
    ? []
    : [warning('source', 'the agent does not know all Services yet', 'wait; then its log says what keeps it')]
  if (overlayOff)
    return [...told, warning('overlay', 'people have switched it off', 'lightpath overlay on, on the node')]
  if (up) return [...told, ok('overlay', `Envoy ${clients.map(({ version }) => version).join(' and ')} is up`)]
  const why = clients.length === 0 ? 'Envoy is not connected to the agent' : `Envoy is ${clients[0]!.state}`
  const remedy = 'kubectl -n lightpath-system logs daemonset/lightpath-proxy'
  return [...told, fails('overlay', `${why}; the kernel layer serves all Services`, remedy)]
}

const aboutPaths = 'let through what docs/operations.md names, "When the node does not let it"'

function pathChecks({ paths, envoy: { up } }: NodeStatus): readonly Check[] {
  return Object.entries(paths).map(([family, path]) => {
    const name = `path of pods to Envoy, ${family}`
    switch (path.outcome) {
      case 'blocked':
        return fails(name, `blocked: ${path.reason}`, aboutPaths)
      case 'untested':
        return up ? warning(name, 'not tested yet', 'the same command again, in a minute') : ok(name, 'not tested')
      default:
        return ok(name, path.outcome)
    }
  })
}

/**
 * Problems with their own line above, or with an Event for their owners, are a warning all the same: something is not
 * as somebody wished.
 */
function problemChecks({ problems, overlayOff }: NodeStatus): readonly Check[] {
  const told = problems.filter(({ code }) => code !== 'LP402' && !(overlayOff && code === 'LP408'))
  const checks = told
    .slice(-maxProblems)
    .map(({ code, object, reason, remedy }) => warning(`problem ${code}`, `${object}: ${reason}`, remedy))
  const more = told.length - checks.length
  return more > 0 ? [...checks, warning('problems', `${more} more`, 'lightpath status, on the node')] : checks
}

const requestNames: Readonly<Record<Layer, string>> = {
  envoy: 'request through Envoy',
  kernel: 'request by the kernel layer',
}

const requestRemedies: Readonly<Record<Layer, string>> = {
  envoy: 'what else is told of this node; then lightpath status on the node, and NetworkPolicies that select all pods',
  kernel: "the node's pod network and firewall: its pods have to reach pods of other nodes",
}

/** With the overlay switched off nothing is to go through Envoy. */
function requestChecks(requests: NodeRequests, overlayOff = false): readonly Check[] {
  if ('error' in requests)
    return [fails('requests', requests.error, 'kubectl get events -A --field-selector type=Warning')]
  return requests.filter(({ layer }) => layer === 'kernel' || !overlayOff).map(requestCheck)
}

function requestCheck({ url, layer, ms, error }: RequestResult): Check {
  const name = requestNames[layer]
  if (ms !== undefined) return ok(name, `${url} in ${Math.max(1, Math.round(ms))} ms`)
  return fails(name, `${url}: ${error}`, requestRemedies[layer])
}
