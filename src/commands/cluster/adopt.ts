import { type Ask, kubernetesApi } from '../../cluster/api.ts'
import { handOver } from '../../services/handover/rule.ts'
import { type Direction, type Found, findServices, move } from '../../webhook/adopt.ts'
import { type NodesServed, nodesServed } from '../../webhook/agents.ts'
import type { Config } from '../options.ts'
import { type Output, print } from '../output/print.ts'
import { table } from '../output/table.ts'
import { UsageError } from '../usage.ts'

export interface AdoptOptions {
  readonly back: boolean
  /** Do it, in place of saying what would be done. */
  readonly yes: boolean
  /** Also where nodes have no agent. */
  readonly force: boolean
  readonly output: Output
}

interface Row {
  readonly namespace: string
  readonly name: string
  readonly type: string
  readonly clusterIPs: readonly string[]
  /** The result, or why the Service stays as it is. */
  readonly result: 'to be moved' | 'moved' | 'failed' | 'left'
  readonly reason?: string
}

interface Outcome {
  readonly services: readonly Row[]
  readonly nodes?: NodesServed
}

const label = `${handOver.key}: ${handOver.value}`

const words = {
  over: {
    would: 'to be handed to Lightpath',
    done: 'handed to Lightpath',
    effect: `Handing over sets the label ${label} on each. On every node kube-proxy then takes its
rules for it away and Lightpath's agent serves it; open connections stay as they are. --back undoes it.`,
  },
  back: {
    would: 'to be handed back to kube-proxy',
    done: 'handed back to kube-proxy',
    effect: `Handing back removes the label ${label} from each, whoever set it. An agent with
--services=labelled then leaves it to kube-proxy, which has to run on every node; open connections stay as they are.`,
  },
} as const

/** @param chosen `NAMESPACE` or `NAMESPACE/NAME` each; none for the whole cluster */
export async function adopt(config: Config, chosen: readonly string[], options: AdoptOptions): Promise<void> {
  const direction = options.back ? 'back' : 'over'
  const ask = kubernetesApi(config.kubeconfig)
  const found = await findChosen(ask, direction, chosen)
  const nodes = options.back ? undefined : await nodesServed(ask)
  if (options.yes && nodes && nodes.without.length > 0 && !options.force) throw new Error(unserved(nodes))
  const rows: Row[] = []
  for (const service of found) rows.push(await settle(ask, direction, service, options.yes))
  if (rows.some(({ result }) => result === 'failed')) process.exitCode = 1
  const named = new Set(chosen.filter(one => one.includes('/')))
  print(options.output, { services: rows, ...(nodes && { nodes }) }, outcome =>
    render(outcome, named, direction, options.yes),
  )
}

/** Services in order of namespace and name, each once. */
async function findChosen(ask: Ask, direction: Direction, chosen: readonly string[]): Promise<readonly Found[]> {
  const places = chosen.map(parseChosen)
  const namespaces = places.length === 0 ? [undefined] : new Set(places.map(({ namespace }) => namespace))
  const all: Found[] = []
  for (const namespace of namespaces) all.push(...(await findServices(ask, direction, namespace)))
  for (const { namespace, name } of places) {
    if (name !== undefined && !all.some(one => one.namespace === namespace && one.name === name))
      throw new Error(`there is no Service ${namespace}/${name}`)
  }
  const isChosen = (one: Found) =>
    places.length === 0 ||
    places.some(({ namespace, name }) => namespace === one.namespace && (name === undefined || name === one.name))
  const key = ({ namespace, name }: Found) => `${namespace}/${name}`
  return all.filter(isChosen).sort((a, b) => (key(a) < key(b) ? -1 : 1))
}

function parseChosen(text: string): { namespace: string; name: string | undefined } {
  const match = /^([a-z0-9-]+)(?:\/([a-z0-9-]+))?$/.exec(text)
  if (!match) throw new UsageError(`${JSON.stringify(text)} is not NAMESPACE or NAMESPACE/NAME`)
  return { namespace: match[1]!, name: match[2] }
}

async function settle(ask: Ask, direction: Direction, service: Found, yes: boolean): Promise<Row> {
  const { namespace, name, type, clusterIPs, left } = service
  const about = { namespace, name, type, clusterIPs }
  if (left !== undefined) return { ...about, result: 'left', reason: left }
  if (!yes) return { ...about, result: 'to be moved' }
  try {
    await move(ask, direction, service)
    return { ...about, result: 'moved' }
  } catch (error) {
    return { ...about, result: 'failed', reason: (error as Error).message }
  }
}

/** Gives the reason of each Service that was named and is left, and counts the others. */
export function render(
  { services: rows, nodes }: Outcome,
  named: ReadonlySet<string>,
  direction: Direction,
  yes: boolean,
): string {
  const { would, done, effect } = words[direction]
  const isNamed = ({ namespace, name }: Row) => named.has(`${namespace}/${name}`)
  const shown = rows.filter(row => row.result !== 'left' || isNamed(row))
  const moving = rows.filter(({ result }) => result === 'to be moved' || result === 'moved').length
  const unnamed = rows.length - shown.length
  const cells = shown.map(({ namespace, name, type, clusterIPs, result, reason }) => {
    const says = { 'to be moved': would, moved: done, failed: `failed: ${reason}`, left: `left: ${reason}` }[result]
    return [namespace, name, type, clusterIPs.join(','), says]
  })
  const rest = unnamed === 0 ? '' : `; ${unnamed} more left as they are, NAMESPACE/NAME says why`
  return [
    ...(shown.length > 0 ? [table(['NAMESPACE', 'NAME', 'TYPE', 'VIP', 'RESULT'], cells)] : []),
    `Services ${yes ? done : would}: ${moving}${rest}`,
    ...(moving > 0 && !yes ? [effect, ...(nodes ? [served(nodes)] : []), 'Nothing was changed; --yes does it.'] : []),
    '',
  ].join('\n')
}

function served(nodes: NodesServed): string {
  if (nodes.without.length > 0) return `Not yet: ${unserved(nodes)}.`
  return `An agent is ready on each of the ${nodes.nodes} nodes.`
}

const mostNodes = 5

function unserved({ nodes, without }: NodesServed): string {
  const names = without.slice(0, mostNodes).join(', ') + (without.length > mostNodes ? ', …' : '')
  return `${without.length} of ${nodes} nodes have no ready pod of deploy/node, and nobody would serve these Services there (${names}); where agents run in another way, --force goes on`
}
