/** Reports on all nodes: asks each agent's container for the reports of its node, and adds them up. */

import { setTimeout as sleep } from 'node:timers/promises'
import { execInAgent, podsOf } from '../cluster/agents.ts'
import type { Ask } from '../cluster/api.ts'
import { namespace } from '../cluster/namespace.ts'
import type { KubeConfig } from '../sources/kube-config.ts'
import type { NodeOfReport, Report, Watching } from './report.ts'
import { sumOf } from './traffic.ts'

/**
 * A question to a node ends by itself after this time, also where the node does not notice that nobody listens any
 * more.
 */
const askedMs = 60_000
/** How long after the first list of pods new ones are sought, and after an error a node is asked again. */
const againMs = 5000
/** A report is no longer true after so many intervals, and the first is waited for so long, and this beside. */
const staleIntervals = 3
const startMs = 8000

interface Heard {
  readonly report?: Report
  readonly error?: string
  readonly at: number
}

/** Throws ApiError where pods may not be listed, and Error where there is no agent. */
export async function* watchCluster(
  ask: Ask,
  config: KubeConfig,
  { intervalMs, chosen, signal }: Watching,
): AsyncGenerator<Report> {
  const heard = new Map<string, Heard>()
  const ended = new AbortController()
  const all = AbortSignal.any([signal, ended.signal])
  const following = new Map<string, Promise<void>>()
  const follow = async () => {
    const pods = (await podsOf(ask, 'node')).filter(({ node, leaves }) => node !== '' && !leaves)
    for (const known of heard.keys()) if (!pods.some(({ node }) => node === known)) heard.delete(known)
    for (const { node, name, isReady, state } of pods) {
      if (following.has(node)) continue
      if (!isReady) heard.set(node, { error: `its agent is not ready: ${state}`, at: performance.now() })
      else
        following.set(
          node,
          followNode(node, name).finally(() => following.delete(node)),
        )
    }
    return pods.length
  }
  const followNode = async (node: string, pod: string) => {
    const command = ['top', '--output', 'json', '--attached', '--interval', String(intervalMs / 1000)]
    const args = ['--times', String(Math.ceil(askedMs / intervalMs)), ...(chosen === undefined ? [] : [chosen])]
    const tell = (what: Omit<Heard, 'at'>) => void heard.set(node, { ...what, at: performance.now() })
    try {
      while (!all.aborted) {
        const onLine = (line: string) => tell(reportIn(line))
        await execInAgent(config, pod, [...command, ...args], { onLine, signal: all })
      }
    } catch (error) {
      tell({ error: (error as Error).message })
      await sleep(againMs, undefined, { signal: all }).catch(() => {})
    }
  }

  if ((await follow()) === 0)
    throw new Error(`there is no pod of an agent in namespace ${namespace}: is Lightpath installed?`)
  const began = performance.now()
  let looked = began
  try {
    while (!all.aborted) {
      const isLate = performance.now() - began > staleIntervals * intervalMs + startMs
      const isComplete = [...following.keys()].every(node => heard.has(node))
      if (isComplete || isLate) yield reportOf(heard, intervalMs)
      await sleep(isComplete || isLate ? intervalMs : 100, undefined, { signal: all }).catch(() => {})
      if (performance.now() - looked < againMs) continue
      looked = performance.now()
      await follow().catch(() => {})
    }
  } finally {
    ended.abort()
    await Promise.all(following.values())
  }
}

function reportIn(line: string): Omit<Heard, 'at'> {
  try {
    return { report: JSON.parse(line) as Report }
  } catch {
    return { error: `its agent printed no report: ${line.slice(0, 200)}` }
  }
}

function reportOf(heard: ReadonlyMap<string, Heard>, intervalMs: number): Report {
  const staleMs = staleIntervals * intervalMs + againMs
  const current = [...heard].map(([node, { report, error, at }]): { node: NodeOfReport; report?: Report } => {
    if (error !== undefined) return { node: { name: node, error } }
    const own = report?.nodes[0]?.error
    if (own !== undefined) return { node: { name: node, error: own } }
    const silentMs = performance.now() - at
    if (silentMs > staleMs) return { node: { name: node, error: `nothing for ${Math.round(silentMs / 1000)} s` } }
    return { node: { name: node }, report }
  })
  return {
    time: new Date().toISOString(),
    intervalSeconds: intervalMs / 1000,
    nodes: current.map(({ node }) => node).sort((a, b) => (a.name < b.name ? -1 : 1)),
    ports: sumOf(current.flatMap(({ report }) => (report ? [report.ports] : []))),
  }
}
