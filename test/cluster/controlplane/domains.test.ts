/** Two zones of two nodes each with control planes of their own, and all that may go wrong there, one after another. */

import { after, before, describe, test } from 'node:test'
import { isRoot } from '../nodes.ts'
import { testDeadNode } from './deadnode.ts'
import { Domains, nodes, zoneOf } from './domains.ts'
import { untilNear } from './facts-source.ts'
import { testOutages } from './outages.ts'

const skip = isRoot ? false : 'needs root'

describe('control planes of two zones', { skip }, () => {
  let domains: Domains
  before(async () => {
    domains = await Domains.up('--control-plane-patience=10s')
  })
  after(() => domains?.cluster.down())

  test('serve the agents of their own zone', async () => {
    await untilNear(domains.cluster, nodes, (node, replica) => zoneOf(node) === zoneOf(replica))
    await domains.settled()
  })

  test('hand their agents to each other in a rolling update, and no request fails', async () => {
    await domains.underLoad(async () => {
      await domains.rollOver()
      await domains.settled()
    })
  })

  testDeadNode(() => domains)
  testOutages(() => domains)
})
