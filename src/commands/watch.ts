/** What a source tells, for commands that look at it once. */

import { labels } from '../services/layer.ts'
import type { Change } from '../services/objects.ts'
import type { PortState } from '../services/port.ts'
import { formatProblem, type Problem } from '../services/problem.ts'
import type { Node } from '../services/service.ts'
import { ServiceTable } from '../services/table.ts'
import type { Source } from '../sources/source.ts'

const timeoutMs = 60e3

export interface Watched {
  /** The ports that this node would serve, of the Services that are looked at. */
  states(): readonly PortState[]
  /** Undefined where it is not known. */
  node(): Node | undefined
}

export interface WatchOptions {
  /** Also Services with a label that names Lightpath as their proxy, which a kube-proxy leaves alone. */
  readonly withOurs: boolean
}

/** Follows a source until it is stopped; resolves when all is known. Rejects with the reason where that takes too long. */
export async function watchServices(source: Source, nodeName: string, { withOurs }: WatchOptions): Promise<Watched> {
  const table = new ServiceTable(nodeName)
  const named = new Set<string>()
  let node: Node | undefined
  let latest: Problem | undefined
  const note = (change: Change) => {
    if (change.type !== 'put') return
    const { object } = change
    if (object.kind === 'Node' && object.name === nodeName) node = object
    if (object.kind !== 'Service') return
    const key = `${object.namespace}/${object.name}`
    if (object.labels[labels.proxyName] === undefined) named.delete(key)
    else named.add(key)
  }
  const { promise: synced, resolve, reject } = Promise.withResolvers<void>()
  const timer = setTimeout(() => {
    reject(
      new Error(latest ? formatProblem(latest) : `the source has not told all Services within ${timeoutMs / 1000} s`),
    )
  }, timeoutMs)
  await source.start({
    changes: changes => {
      changes.forEach(note)
      table.apply(changes)
    },
    problems: (_origin, problems) => {
      latest = problems.at(-1) ?? latest
      const missing = problems.find(({ code }) => code === 'LP104')
      if (missing) reject(new Error(formatProblem(missing)))
    },
    synced: resolve,
  })
  await synced.finally(() => clearTimeout(timer))
  return {
    states: () => [...table.states()].filter(({ namespace, name }) => withOurs || !named.has(`${namespace}/${name}`)),
    node: () => node,
  }
}
