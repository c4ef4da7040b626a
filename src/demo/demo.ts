/** The demo: Lightpath at work on two nodes, with real Envoy, nftables and traffic, and no Kubernetes. */

import { once } from 'node:events'
import { crash } from './points/crash.ts'
import { edit } from './points/edit.ts'
import { explanation } from './points/explanation.ts'
import { faults } from './points/faults.ts'
import { kernel } from './points/kernel.ts'
import type { Point } from './points/point.ts'
import { request } from './points/request.ts'
import { slowEndpoint } from './points/slow.ts'
import { spread } from './points/spread.ts'
import { type Output, Show } from './show.ts'
import { buildStage, overlayServes, type Stage } from './stage.ts'

export interface DemoOptions {
  /** Leave it running after the points, until Ctrl-C. */
  readonly keep: boolean
  readonly out: Output
}

export const points: readonly Point[] = [request, spread, faults, kernel, edit, crash, slowEndpoint, explanation]

/**
 * Runs the demo and removes what it built, also when this process is told to end. Returns how many points did not come
 * out as they should: 0 is success. Throws when the stage cannot be built.
 */
export async function runDemo({ keep, out }: DemoOptions): Promise<number> {
  const show = new Show(out)
  const begun = performance.now()
  show.heading('Lightpath: two nodes, ten pods, an Envoy and an agent on each node')
  const stage = await show.progress('building the nodes and starting the pods', buildStage())
  try {
    await show.progress('the agents and Envoys are starting', overlayServes(stage))
    show.seen(`node1 and node2 are ready after ${seconds(begun)} s; they read ${stage.manifests}`)

    const outcomes: Outcome[] = []
    for (const [index, point] of points.entries()) outcomes.push(await present(index + 1, point, stage, show))
    summarise(outcomes, begun, show)
    if (keep) await keepRunning(stage, show)
    return outcomes.filter(outcome => !outcome.good).length
  } finally {
    await stage.network.destroy()
  }
}

interface Outcome {
  readonly good: boolean
  readonly text: string
}

async function present(number: number, point: Point, stage: Stage, show: Show): Promise<Outcome> {
  show.heading(`${number}. ${point.title}`)
  show.explain(point.explanation)
  try {
    const text = await point.run(stage, show)
    show.seen(text)
    return { good: true, text }
  } catch (error) {
    const text = (error as Error).message
    show.failed(text)
    return { good: false, text: `${point.title}: ${text.split('\n')[0]}` }
  }
}

function summarise(outcomes: readonly Outcome[], begun: number, show: Show): void {
  show.heading(`Summary, after ${seconds(begun)} s`)
  for (const { good, text } of outcomes) good ? show.seen(text) : show.failed(text)
}

/** Until Ctrl-C or the end of this process's life, after which nothing is left. */
async function keepRunning({ inScript, manifests, network }: Stage, show: Show): Promise<void> {
  show.heading('It goes on running until Ctrl-C. To look around, from another terminal:')
  for (const line of [
    `${inScript} client curl whoami.whoami.svc     # NAME: client, node1, node2, whoami-1b, …`,
    `${inScript} node1 nft list table ip lightpath`,
    `${inScript} node1 curl 127.0.0.1:15000/clusters`,
    `${inScript} node1 curl 127.0.0.1:9001/metrics`,
    `$EDITOR ${manifests}/whoami.yaml`,
    `ls ${network.directory}/*.log ${network.directory}/node1`,
  ])
    show.output(line)
  // Before the network's own handler, for which a signal is a failure.
  process.prependOnceListener('SIGINT', () => process.exit(0))
  await once(process, 'SIGTERM')
}

function seconds(begun: number): string {
  return ((performance.now() - begun) / 1000).toFixed(1)
}
