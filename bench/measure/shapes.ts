/**
 * The kernel layer against kube-proxy's in nftables mode at any size, by the same API server: how long until all is in the kernel,
 * and how long one change takes. At the sizes of kubernetes#139513 and #135639 kube-proxy takes a quarter of an hour or longer,
 * so there is a limit, and each part says how far it is. First the one, then the other, since there is one machine.
 */

import { randomInt } from 'node:crypto'
import type { LabNode, Network } from '../../src/lab/network.ts'
import { pause } from '../../src/lab/wait.ts'
import type { ControlPlane } from '../lab/control-plane.ts'
import { filledControlPlane } from '../lab/filled.ts'
import { Cluster, type Size } from '../lab/generate.ts'
import { inNetwork } from '../lab/in-network.ts'
import { cpuTime } from '../lab/node.ts'
import { type Experiment, experiment, findings, type Report } from '../runner/experiment.ts'
import { aim, figure, p } from '../runner/statistics.ts'
import { change, kubeProxy, lightpath, type Side } from './kubeproxy.ts'

/** The agent has collected by then what loading left behind, once, which takes V8 0.2 s at 44,125 Services. */
const settledMs = 15_000

interface ShapeOptions {
  /** Of one EndpointSlice each, of each side. */
  readonly changes: number
  /** After this time what is still going on is ended, milliseconds. */
  readonly limitMs: number
}

interface Measured {
  /** From the start of the proxy until all is in the kernel, seconds; undefined where the limit came first. */
  readonly loaded: number | undefined
  /** CPU time of the process until then, seconds. Not that of the programs that it runs. */
  readonly cpu: number
  /** Of each change, from the API server's answer until it is in the kernel, milliseconds. */
  readonly changes: readonly number[]
}

/** `44125x1`: so many Services of so many endpoints; undefined where the name is none of these. */
export function shapeExperiment(name: string): Experiment | undefined {
  const [, services, endpoints] = /^(\d+)x(\d+)$/.exec(name) ?? []
  if (services === undefined) return undefined
  const size = { services: Number(services), endpoints: Number(endpoints) }
  return experiment({
    name,
    title: `${size.services.toLocaleString('en')} Services of ${size.endpoints}`,
    shows: `Lightpath beside kube-proxy by a real API server: until all is in the kernel, and one change after the other. What takes
longer than the limit is ended. The short form has a tenth of the Services.`,
    minutes: { short: 0.7, full: 12 },
    options: {
      short: { size: { ...size, services: Math.ceil(size.services / 10) }, changes: 10, limitMs: 60_000 },
      full: { size, changes: 200, limitMs: 20 * 60_000 },
    },
    measure: async (run, { size, ...options }) =>
      findings(await run.step('both proxies', () => inNetwork(network => measureShape(network, size, options)))),
  })
}

/** Of one size; the network is used up by it. */
async function measureShape(network: Network, size: Size, options: ShapeOptions): Promise<Report> {
  const [node1, node2] = network.nodes as readonly [LabNode, LabNode]
  const cluster = new Cluster(size)
  const plane = await filledControlPlane(network, node1, cluster, progress('created at the API server'))
  const ours = await measure(plane, cluster, options, 'Lightpath', await lightpath(network, node1, plane))
  const theirs = await measure(plane, cluster, options, 'kube-proxy', await kubeProxy(node2, plane))
  return report(size, options, ours, theirs)
}

async function measure(
  plane: ControlPlane,
  cluster: Cluster,
  { changes, limitMs }: ShapeOptions,
  name: string,
  side: Side,
): Promise<Measured> {
  const began = Date.now()
  const tell = progress(`elements of ${name} in the kernel, at most ${Math.ceil(limitMs / 60_000)} min`)
  const loaded = await untilLoaded(side, cluster.elementsOn('node1'), began + limitMs, tell)
  const cpu = cpuTime(side.process) / 1e9
  const totals: number[] = []
  if (loaded !== undefined) {
    await pause(settledMs)
    const tell = progress(`changes of ${name}`)
    for (let done = 0; done < changes; done++) {
      const left = began + limitMs - Date.now()
      const changed = left > 0 && (await change(plane, cluster, side, 'replace', left).catch(lateAtTheEnd(left)))
      if (!changed) break
      totals.push(changed.total)
      tell(done + 1, changes)
      await pause(randomInt(20, 60))
    }
  }
  await side.process.stop()
  return { loaded: loaded && (loaded - began) / 1000, cpu, changes: totals }
}

/** What a change that the limit came before fails with, is no failure. */
function lateAtTheEnd(left: number): (error: unknown) => undefined {
  const end = Date.now() + left
  return error => {
    if (Date.now() < end) throw error
  }
}

/** When the last element was in the kernel; undefined where the limit came first. */
async function untilLoaded(side: Side, elements: number, end: number, tell: Progress): Promise<number | undefined> {
  let loaded = 0
  for (;;) {
    for (const line of side.log.take()) {
      loaded += side.elementsIn(line)
      if (loaded >= elements) return line.at
    }
    if (Date.now() > end) return undefined
    tell(loaded, elements)
    await pause(50)
  }
}

type Progress = (done: number, all: number) => void

/** A line every ten seconds: how much is done, and how long the rest takes at that pace. */
function progress(what: string): Progress {
  const began = Date.now()
  let last = began
  return (done, all) => {
    const now = Date.now()
    if (now - last < 10_000) return
    last = now
    const passed = (now - began) / 1000
    const left = done === 0 ? '' : `, ${Math.ceil((passed / done) * (all - done))} s left`
    console.error(`  ${done} of ${all} ${what} after ${Math.round(passed)} s${left}`)
  }
}

function report(size: Size, { limitMs }: ShapeOptions, ours: Measured, theirs: Measured): Report {
  const late = `> ${limitMs / 60_000} min`
  const loaded = ({ loaded }: Measured) => (loaded === undefined ? late : `${figure(loaded)} s`)
  const total = ({ changes }: Measured, percent: number) =>
    changes.length === 0 ? '' : `${figure(p(changes, percent))} ms`
  const within = (ms: number, percent: number) =>
    aim(`${ms} ms`, ours.changes.length > 0 && p(ours.changes, percent) <= ms)
  const { services, endpoints } = size
  return {
    title: `${services.toLocaleString('en')} Services of ${endpoints}: Lightpath against kube-proxy (nftables), by the API`,
    header: ['', 'Lightpath', 'kube-proxy', 'aim'],
    rows: [
      ['all in the kernel after its start', loaded(ours), loaded(theirs), ''],
      ["one change: from the API server's answer, p50", total(ours, 50), total(theirs, 50), within(3, 50)],
      ['  p99', total(ours, 99), total(theirs, 99), within(10, 99)],
      ['changes', String(ours.changes.length), String(theirs.changes.length), ''],
    ],
    notes: ['one after the other, each alone on the machine beside the API server'],
    data: { size, ours, theirs },
  }
}
