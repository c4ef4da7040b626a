/**
 * As many agents' watches of an API server: each is the source of an agent of its own node, with all the connections and all the
 * reading that it does, and nothing behind it. Says when all have everything; SIGTERM ends it, and it says how many changes each was
 * told meanwhile.
 */

import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { createLog } from '../../src/observe/log.ts'
import { kubernetesSource } from '../../src/sources/kubernetes.ts'

const { values: flags, positionals: nodes } = parseArgs({
  allowPositionals: true,
  options: { kubeconfig: { type: 'string' } },
})
const log = createLog('error')
/** So that the beginning takes no longer than it has to: each reads as soon as the one before has asked. */
const betweenMs = 5

const changes = nodes.map(() => 0)
const synced = nodes.map(async (nodeName, index) => {
  await pause(index * betweenMs)
  const { promise, resolve } = Promise.withResolvers<void>()
  await kubernetesSource({ kubeconfig: flags.kubeconfig, nodeName, log }).start({
    changes: all => {
      changes[index]! += all.length
    },
    synced: resolve,
    problems: () => {},
  })
  await promise
})
await Promise.all(synced)
changes.fill(0)
console.log(JSON.stringify(nodes.length))
process.on('SIGTERM', () => {
  process.stdout.write(`${JSON.stringify(changes)}\n`, () => process.exit())
})
