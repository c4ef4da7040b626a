/** Collects everything that `lightpath check` needs to know of a cluster. */

import { execInAgent, type OurPod, podsOf } from '../cluster/agents.ts'
import type { Ask } from '../cluster/api.ts'
import { list } from '../cluster/list.ts'
import { namespace } from '../cluster/namespace.ts'
import { imageOf, isReady, nameOf, scopeOf } from '../cluster/objects.ts'
import { inTurns } from '../cluster/podpernode.ts'
import type { NodeStatus } from '../node/report/answers/status.ts'
import { type Check, warning } from '../preflight/check.ts'
import type { KubeConfig } from '../sources/kube-config.ts'
import { rawObject } from '../text/raw.ts'
import { get } from '../uninstall/found.ts'
import { checksOf, type NodeFacts } from './evaluate.ts'
import { type RequestOptions, requestsOf } from './requests.ts'

export interface ClusterReport {
  /** Beside kube-proxy: `labelled`. */
  readonly services: 'all' | 'labelled'
  /** The version that most nodes have; undefined where no agent reports one. */
  readonly version: string | undefined
  readonly cluster: readonly Check[]
  readonly nodes: readonly { readonly node: string; readonly checks: readonly Check[] }[]
  /** The highest number of ports in Envoy on any node; Services that `lightpath adopt` would hand over. */
  readonly portsInEnvoy: number
  readonly notHandedOver: number
}

const statusMs = 15_000

/** Throws ApiError where it may not ask, and Error where Lightpath is not installed. */
export async function checkCluster(
  ask: Ask,
  config: KubeConfig,
  options: Omit<RequestOptions, 'image'> & { readonly image: string | undefined },
): Promise<ClusterReport> {
  const { signal, onStep } = options
  onStep('the installation')
  const agents = await get(ask, `/apis/apps/v1/namespaces/${namespace}/daemonsets/lightpath-node`)
  if (!agents)
    throw new Error(
      `Lightpath is not installed: there is no DaemonSet lightpath-node in namespace ${namespace}; docs/quickstart.md says how`,
    )
  const nodes = await list(ask, '/api/v1/nodes', 'labelSelector=kubernetes.io/os%3Dlinux')
  const pods = { agents: byNode(await podsOf(ask, 'node')), envoys: byNode(await podsOf(ask, 'proxy')) }
  onStep('what each agent says')
  const statuses = new Map(
    await inTurns(
      [...pods.agents.values()].filter(({ isReady }) => isReady),
      async ({ node, name }) => {
        const status = await statusOf(config, name, signal).catch((error: Error) => ({ error: error.message }))
        return [node, status] as const
      },
    ),
  )
  onStep('requests of pods')
  const image = options.image ?? String(imageOf(agents))
  const able = nodes
    .filter(isReady)
    .map(nameOf)
    .filter(node => statuses.has(node))
  const requests = await requestsOf(ask, able, { ...options, image })
  const facts = nodes.map(
    (node): NodeFacts => ({
      node: nameOf(node),
      isReady: isReady(node),
      agent: pods.agents.get(nameOf(node)),
      envoy: pods.envoys.get(nameOf(node)),
      status: statuses.get(nameOf(node)) ?? { error: 'its agent is not ready' },
      requests: requests.get(nameOf(node)) ?? [],
    }),
  )
  const known = [...statuses.values()].flatMap(status => ('error' in status ? [] : [status]))
  const version = mostOf(known.map(({ version }) => version))
  return {
    services: scopeOf(agents),
    version,
    cluster: await admissionChecks(ask),
    nodes: facts
      .map(each => ({ node: each.node, checks: checksOf(each, version) }))
      .sort((a, b) => (a.node < b.node ? -1 : 1)),
    portsInEnvoy: Math.max(0, ...known.map(({ layers }) => layers.envoy)),
    notHandedOver: Math.max(0, ...known.map(({ eligible }) => eligible.count)),
  }
}

/** Chooses the ready one of two pods of a node, as while one follows the other. */
function byNode(pods: readonly OurPod[]): ReadonlyMap<string, OurPod> {
  const ranked = pods.toSorted((a, b) => Number(a.isReady && !a.leaves) - Number(b.isReady && !b.leaves))
  return new Map(ranked.map(pod => [pod.node, pod]))
}

async function statusOf(config: KubeConfig, pod: string, signal: AbortSignal): Promise<NodeStatus> {
  let text = ''
  const onLine = (line: string) => {
    text += line
  }
  const limited = AbortSignal.any([signal, AbortSignal.timeout(statusMs)])
  await execInAgent(config, pod, ['status', '--output', 'json'], { onLine, signal: limited })
  return JSON.parse(text) as NodeStatus
}

/** Where the webhook is used and has no ready pod, new Services stay with kube-proxy. */
async function admissionChecks(ask: Ask): Promise<readonly Check[]> {
  const webhook = await get(ask, `/apis/apps/v1/namespaces/${namespace}/deployments/lightpath-webhook`)
  if (!webhook || Number(rawObject(webhook.status).availableReplicas ?? 0) > 0) return []
  return [
    warning(
      'webhook',
      'none of its pods is ready: new Services are not handed to Lightpath',
      'kubectl -n lightpath-system describe deployment lightpath-webhook',
    ),
  ]
}

function mostOf(values: readonly string[]): string | undefined {
  return [...Map.groupBy(values, value => value).values()].sort((a, b) => b.length - a.length)[0]?.[0]
}
