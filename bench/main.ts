/** `npm run bench`: measures, and prints medians and ratios. See bench/run for its arguments. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { table } from '../src/commands/output/table.ts'
import { createNetwork, type Network } from '../src/lab/network.ts'
import { measureChanges } from './change.ts'
import { Datapath } from './datapath.ts'
import { measureFairShare } from './fairshare.ts'
import { measureFlood } from './flood.ts'
import type { Size } from './generate.ts'
import { measureKernelLayer } from './kernel-layer.ts'
import { measureSync } from './kubeproxy.ts'
import { measureLargest } from './largest.ts'
import { machine, type Report } from './report.ts'
import { measureScale } from './scale.ts'
import { measureShape } from './shapes.ts'
import { measureUse } from './use.ts'

const results = join(import.meta.dirname, 'results')
const sizes = { full: 10_000, quick: 1000, small: 100 }

type Part = (network: Network, quick: boolean, tell: (name: string, report: Report) => void) => Promise<void>

const parts: Readonly<Record<string, Part>> = {
  /** Scale and change: the nodes that the one has started are what the other changes. */
  async agent(network, quick, tell) {
    const large = { services: quick ? sizes.quick : sizes.full, endpoints: 10 }
    const small = { services: sizes.small, endpoints: 10 }
    const options = quick ? { rounds: 1, settleMs: 5000 } : { rounds: 3, settleMs: 20_000 }
    const { fleets, report } = await measureScale(network, [large, small], options)
    tell('scale', report)
    tell('change', await measureChanges(fleets, quick ? { changes: 100, perTurn: 25 } : { changes: 500, perTurn: 50 }))
  },
  /** What one tenant's largest objects cost others. */
  async largest(network, quick, tell) {
    const { fleets } = await measureScale(network, [{ services: sizes.small, endpoints: 10 }], {
      rounds: 1,
      settleMs: 0,
    })
    tell('largest', await measureLargest(network, fleets[0]!, quick ? 6 : 20))
  },
  /** What others notice while one tenant takes what it can. */
  async 'fair-share'(network, quick, tell) {
    const { fleets } = await measureScale(network, [{ services: sizes.small, endpoints: 10 }], {
      rounds: 1,
      settleMs: 0,
    })
    tell('fair-share', await measureFairShare(network, fleets[0]!, quick ? 40 : 200))
  },
  /** The kernel layer alone, at the field's worst sizes. */
  async 'kernel-layer'(network, quick, tell) {
    const sizes = [
      { services: 10_000, endpoints: 10 },
      { services: 44_125, endpoints: 1 },
      { services: 5006, endpoints: 50 },
    ].map(({ services, endpoints }) => ({ services: quick ? Math.ceil(services / 10) : services, endpoints }))
    const options = quick ? { rounds: 1, changes: 100 } : { rounds: 3, changes: 500 }
    tell('kernel-layer', await measureKernelLayer(network, { sizes, ...options }))
  },
  /** What Envoy costs where a node calls few of many Services, against all of them in it. */
  async use(network, quick, tell) {
    const size = { services: quick ? sizes.quick : sizes.full, endpoints: 10 }
    const options = quick
      ? { rounds: 1, called: 20, budget: 100, settleMs: 3000, restMs: 5000 }
      : { rounds: 3, called: 100, budget: 1000, settleMs: 20_000, restMs: 60_000 }
    tell('use', await measureUse(network, size, options))
  },
  /** Idle connections to one Service beside requests to another. */
  async flood(network, quick, tell) {
    tell('flood', await measureFlood(network, { connections: quick ? 2000 : 20_000, seconds: quick ? 3 : 20 }))
  },
  async datapath(network, quick, tell) {
    const services = quick ? sizes.quick : sizes.full
    const options = quick ? { rounds: 3, seconds: 1, services } : { rounds: 20, seconds: 1, services }
    const datapath = await Datapath.create(network, options)
    tell('envoy', await datapath.measureEnvoy())
    tell('kernel', await datapath.measureKernel())
  },
  async kubeproxy(network, quick, tell) {
    const size = { services: quick ? sizes.quick : sizes.full, endpoints: 10 }
    const rounds = { rounds: quick ? 3 : 20, seconds: 1, services: size.services }
    const datapath = await Datapath.create(network, rounds)
    const changes = quick ? { changes: 20, perTurn: 10 } : { changes: 200, perTurn: 25 }
    tell('sync', await measureSync(network, size, changes, datapath.service('tcp')))
    tell('kube-proxy', await datapath.measureKubeProxy(network.nodes[1]!))
  },
}

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    output: { type: 'string', default: 'table' },
  },
})
const shapes = positionals.flatMap(shapeOf)
const names = positionals.filter(name => shapeOf(name).length === 0)
const chosen = positionals.length > 0 ? names : Object.keys(parts)
const unknown = chosen.find(name => !Object.hasOwn(parts, name))
if (unknown !== undefined || !['table', 'json'].includes(flags.output)) {
  console.error(
    `usage: bench/run [--quick] [--output table|json] [${Object.keys(parts).join('|')}|SERVICESxENDPOINTS]...`,
  )
  process.exit(2)
}

const where = machine()
console.log(
  `${where.date}  ${where.cores} cores (${where.cpu}), ${where.memoryGB} GB, Linux ${where.kernel}, Node.js ${where.node}`,
)
if (where.load > where.cores / 4)
  console.log(`The machine is busy (load ${where.load.toFixed(1)}): repeat this on a quiet one before you trust it.`)
for (const name of chosen) await inNetwork(network => parts[name]!(network, flags.quick, tell))
for (const [name, size] of shapes) {
  await inNetwork(async network => {
    const options = flags.quick ? { changes: 20, limitMs: 60_000 } : { changes: 200, limitMs: 20 * 60_000 }
    tell(name, await measureShape(network, size, options))
  })
}

/** `44125x1` */
function shapeOf(text: string): readonly (readonly [name: string, size: Size])[] {
  const [, services, endpoints] = /^(\d+)x(\d+)$/.exec(text) ?? []
  return services === undefined ? [] : [[text, { services: Number(services), endpoints: Number(endpoints) }]]
}

async function inNetwork(measure: (network: Network) => Promise<void>): Promise<void> {
  const network = await createNetwork({ nodes: 2 })
  try {
    await measure(network)
  } finally {
    await network.destroy()
  }
}

function tell(name: string, report: Report): void {
  const { title, header, rows, notes, data } = report
  console.log(`\n${title}\n${table(header, rows, '  ')}`)
  for (const note of notes) console.log(`  (${note})`)
  if (flags.output !== 'json') return
  mkdirSync(results, { recursive: true })
  const file = join(results, `${name}.json`)
  writeFileSync(file, `${JSON.stringify({ machine: where, quick: flags.quick, ...data }, undefined, 2)}\n`)
  console.log(`  → ${file}`)
}
