import type { EnvoyState } from '../../node/envoy/envoys.ts'
import type { NodeStatus } from '../../node/report/answers/status.ts'
import { askLivingAgent } from '../agent.ts'
import type { Config } from '../options.ts'
import { pathText } from '../output/path.ts'
import { type Output, print } from '../output/print.ts'
import { paint } from '../output/table.ts'

/** How many problems are shown; the rest is counted. */
const maxProblems = 10

export async function status(config: Config, output: Output): Promise<void> {
  const answer = await askLivingAgent<NodeStatus>(config.socket, '/status')
  print(output, answer, render)
}

export function render(status: NodeStatus): string {
  const { node, version, synced, objects, layers } = status
  const knows = `${objects.services} Services with ${objects.ports} ports, ${objects.endpointSlices} EndpointSlices`
  const lines = [
    `${paint('bold', `Node ${node}`)}, Lightpath ${version}`,
    `  source: ${synced ? `all told: ${knows}` : `has not told all Services yet; so far ${knows}`}`,
    ...renderEnvoy(status),
    ...renderPaths(status),
    ...(status.overlayOff
      ? ['  overlay: switched off by `lightpath overlay off`; the kernel layer serves all new connections']
      : []),
    ...renderRedirectExemptPods(status),
    `  ports in Envoy: ${layers.envoy}`,
    `  ports in the kernel: ${layers.kernel}`,
    `  ports that left Envoy and drain there: ${layers.draining}`,
    ...renderWaiting(status),
    ...renderEligible(status),
    ...renderExcluded(status),
    ...renderProblems(status),
  ]
  return `${lines.join('\n')}\n`
}

function renderEnvoy({ envoy: { up, clients } }: NodeStatus): string[] {
  if (clients.length === 0) return ['  Envoy: not connected; the kernel layer serves all Services']
  return clients.map(({ nodeId, version, state, connectedSince }) => {
    const is = up ? states[state] : `${states[state]}; the kernel layer serves all Services`
    return `  Envoy ${version} (${nodeId}): ${is}, connected since ${connectedSince}`
  })
}

const states: Readonly<Record<EnvoyState, string>> = {
  serving: 'up',
  overloaded: 'short of memory or full of connections',
  coming: 'takes no connections yet',
  ending: 'about to end',
  silent: 'connected, but its canary does not answer',
}

function renderPaths({ paths }: NodeStatus): string[] {
  return Object.entries(paths).map(([family, path]) => `  path of pods to Envoy, ${family}: ${pathText(path)}`)
}

function renderRedirectExemptPods({ redirectExemptPods: { count, examples } }: NodeStatus): string[] {
  if (count === 0) return []
  const pods = examples.map(({ pod, reason }) => `${pod} (${reason})`).join(', ')
  return [`  pods whose connections stay in the kernel: ${count}: ${pods}${count > examples.length ? ', …' : ''}`]
}

function renderWaiting({ waiting }: NodeStatus): string[] {
  return waiting.map(({ reason, count, examples }) => {
    const more = count > examples.length ? ', …' : ''
    return `  ports in the kernel that wait for Envoy: ${count}, since ${reason} (${examples.join(', ')}${more})`
  })
}

function renderEligible({ eligible: { count, examples } }: NodeStatus): string[] {
  if (count === 0) return []
  const more = count > examples.length ? ', …' : ''
  return [
    `  Services that lack the label and stay with kube-proxy: ${count} (${examples.join(', ')}${more}); see lightpath adopt`,
  ]
}

function renderExcluded({ excluded: { count, examples } }: NodeStatus): string[] {
  const lines = examples.map(({ what, why }) => `  ${what}: ${why}`)
  return [...lines, ...(count > examples.length ? [`  and ${count - examples.length} more are excluded`] : [])]
}

function renderProblems({ problems }: NodeStatus): string[] {
  if (problems.length === 0) return ['  problems: none']
  const more = problems.length - maxProblems
  const shown = problems.slice(-maxProblems).reverse()
  return [
    `${paint('bold', 'Problems')}, the latest first`,
    ...shown.map(({ code, object, reason, remedy }) => `  ${paint('yellow', code)} ${object}: ${reason}; ${remedy}`),
    ...(more > 0 ? [`  and ${more} more`] : []),
  ]
}
