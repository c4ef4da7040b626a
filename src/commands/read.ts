/** What a source has, read once. */

import { KernelClients } from '../services/kernelclients.ts'
import type { ServiceScope } from '../services/layer.ts'
import type { Change } from '../services/objects.ts'
import { formatProblem, type Problem } from '../services/problem.ts'
import { ServiceTable } from '../services/table.ts'
import type { Source } from '../sources/source.ts'

export interface Reading {
  readonly table: ServiceTable
  readonly clients: KernelClients
  readonly problems: readonly Problem[]
}

/** Without these there is nothing to read. */
const fatal: readonly Problem['code'][] = ['LP104', 'LP105']

/** Rejects where the source cannot be read. */
export async function readOnce(source: Source, nodeName: string, scope?: ServiceScope): Promise<Reading> {
  const table = new ServiceTable(nodeName, scope)
  const clients = new KernelClients(nodeName)
  const problems = new Map<string, readonly Problem[]>()
  await new Promise<void>((resolve, reject) => {
    const listener = {
      changes: (changes: readonly Change[]) => {
        clients.apply(changes)
        for (const [origin, found] of table.apply(changes).problems) problems.set(origin, found)
      },
      problems: (origin: string, found: readonly Problem[]) => {
        problems.set(origin, found)
        const missing = found.find(({ code }) => fatal.includes(code))
        if (missing) reject(new Error(formatProblem(missing)))
      },
      synced: resolve,
    }
    source.start(listener).catch(reject)
  }).finally(() => source.stop())
  return { table, clients, problems: [...problems.values()].flat() }
}
