/** Lightpath as who uses Helm gets it, beside kube-proxy: the chart on a cluster of two nodes. */

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { noHelm, programs } from '../apiserver.ts'
import { untilNear } from '../controlplane/facts-source.ts'
import { eventually, isRoot, Nodes, nodes } from '../nodes.ts'

/** Each node is one (hack/cluster). */
const zoneOf = (node: number) => `zone-${node}`
const skip = isRoot ? (noHelm ?? false) : 'needs root'

describe('the Helm chart', { skip }, () => {
  let cluster: Nodes
  before(async () => {
    const zones = nodes.map(zoneOf).join()
    cluster = await Nodes.charted('controlPlane.enabled=true', `controlPlane.zones={${zones}}`)
  })
  after(() => cluster?.down())

  for (const node of nodes) {
    test(`takes a new Service to Envoy for pods on node${node}`, () =>
      eventually(60, async () => {
        const answer = await cluster.curl(node, 'http://whoami.whoami.svc.cluster.local')
        assert.match(answer, /^HTTP\/1.1 200/)
        assert.match(answer, /X-Envoy-Attempt-Count: 1/i)
      }))
  }

  test('has agents read from the control plane of their own zone', () =>
    untilNear(cluster, nodes, (node, replica) => node === replica))

  test('prints notes whose commands work as they stand there', async () => {
    const of = ['get', 'notes', 'lightpath', '--namespace', 'lightpath-system']
    const notes = await cluster.hack('control', join(programs, 'helm'), ...of)
    const commands = [...notes.matchAll(/^ {4}kubectl (-n .*)$/gm)].map(([, command]) => command!.split(' '))
    assert.equal(commands.length, 4)
    const answers = await Promise.all(commands.map(command => cluster.hack('kubectl', ...command)))
    for (const says of [/successfully rolled out/, /Node node\d, Lightpath/, /whoami +whoami +http/]) {
      assert.match(answers.join(), says)
    }
  })
})
