/** Reports on this node, once after each interval. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { NodeOfReport, Report, Watching } from './report.ts'
import { type Sample, type SampleSources, takeSample } from './sample.ts'
import { type PortTraffic, trafficBetween } from './traffic.ts'

/** Seconds within which Envoy updates latency: it sums its histograms every five (stats_flush_interval). */
const latencySeconds = 6
/** Sampling takes at most this part of the time, however much there is to sample. */
const share = 0.2

/** Rejects where the first sample fails; the report has later failures. Ends when the signal comes. */
export async function* watchNode(
  node: string,
  sources: Omit<SampleSources, 'chosen'>,
  { intervalMs, chosen, signal }: Watching,
): AsyncGenerator<Report> {
  const take = (before?: Sample) => takeSample({ ...sources, chosen }, before)
  let began = performance.now()
  let before = await take()
  let recent = [before]
  for (;;) {
    const took = performance.now() - began
    const isLeft = await sleep(Math.max(intervalMs - took, took / share - took), true, { signal }).catch(() => false)
    if (!isLeft) return
    began = performance.now()
    try {
      const after = await take(before)
      yield reportOf({ name: node }, after.at - before.at, trafficBetween(before, after, recent[0]))
      before = after
      const isNeeded = (next: Sample) => next.at > after.at - latencySeconds
      recent = [...recent, after].filter((_, index, all) => isNeeded(all[index + 1] ?? after))
    } catch (error) {
      yield reportOf({ name: node, error: (error as Error).message }, 0, [])
    }
  }
}

function reportOf(node: NodeOfReport, intervalSeconds: number, ports: readonly PortTraffic[]): Report {
  return { time: new Date().toISOString(), intervalSeconds, nodes: [node], ports }
}
