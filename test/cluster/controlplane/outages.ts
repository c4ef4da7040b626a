/** What is away for a while: the API server, all control planes, or the API server for one of the zones. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { crash, eventually } from '../nodes.ts'
import { type Domains, nodes, nodesOf, type Pod } from './domains.ts'
import { sourceOf, untilNear } from './facts-source.ts'

const run = promisify(execFile)
const [near, far] = ['zone-1', 'zone-2'].map(nodesOf) as [readonly number[], readonly number[]]
const saysNothing = /^ok; the API server said nothing for \d+ s$/m
const expose = (name: string) => [
  'expose',
  'deployment/whoami',
  '--name',
  name,
  '--port',
  '80',
  '--target-port',
  '8080',
]

export function testOutages(domains: () => Domains): void {
  /** All agents know the same Services and endpoints, and these are those that the API server has. */
  const agree = () =>
    eventually(60, async () => {
      const [first, ...others] = await Promise.all(nodes.map(node => domains().services(node)))
      for (const other of others) assert.deepEqual(other, first)
      const names = await domains().cluster.kubectl('get', 'services', '-o', 'jsonpath={.items[*].metadata.name}')
      assert.deepEqual([...new Set(first!.map(row => row.split(' ')[0]))].sort(), names.split(' ').sort())
    })
  const knows = async (node: number, service: string) =>
    (await domains().services(node)).some(row => row.startsWith(`${service} `))

  /** A replica writes down the tokens of its agents each minute, and with them what it knows where that has changed. */
  const writtenDown = ({ name }: Pod, since: number) => {
    const timeOf = async (file: string) =>
      Date.parse(await domains().ours('exec', name, '--', 'stat', '-c', '%y', `/var/lib/lightpath/${file}`))
    return eventually(120, async () => {
      for (const file of ['tokens', 'facts']) assert.ok((await timeOf(file)) > since, file)
    })
  }

  test('without the API server, control planes that restart serve what they wrote down, and agents and an Envoy that restart get all that they need', async t => {
    const { cluster } = domains()
    const [replicas, agents] = [await domains().podsOf('controlplane'), await domains().podsOf('node')]
    const envoy = (await domains().podsOf('proxy')).find(({ node }) => node === 3)!
    // What was written down before may be of a minute in which a node was away.
    const since = Date.now()
    await cluster.kubectl(...expose('kept'))
    await Promise.all(replicas.map(replica => writtenDown(replica, since)))
    await agree()
    const before = await domains().services(1)
    const network = await cluster.clientNetwork(envoy.node)
    const whoami = await cluster.url('whoami')
    await domains().underLoad(async () => {
      await cluster.apiServer('stop')
      try {
        for (const { uid } of [...replicas, ...agents, envoy]) await crash(uid)
        const crashed = Date.now()
        await eventually(120, async () => {
          for (const node of nodes) {
            assert.equal(typeof (await sourceOf(cluster, node, crashed)), 'number')
            assert.match(await domains().status(node), /LP107/)
            assert.deepEqual(await domains().services(node), before)
          }
        })
        t.diagnostic(`all agents have everything ${Date.now() - crashed} ms after all crashed`)
        for (const replica of replicas) {
          assert.ok((await domains().sample(replica, 'facts_age_seconds')) > 0)
          assert.match(await domains().page(replica, '/readyz'), saysNothing)
        }
        await eventually(60, async () => {
          const { stdout } = await run('nsenter', [network, 'curl', '-sSi', '--max-time', '5', whoami])
          assert.match(stdout, /X-Envoy-Attempt-Count: 1/i)
        })
      } finally {
        await cluster.apiServer('start')
      }
      const back = Date.now()
      await domains().settled()
      t.diagnostic(`nobody says that facts are old ${Date.now() - back} ms after the API server is back`)
    })
    await agree()
  })

  test('without control planes agents go to the API server, and back', async () => {
    const { cluster } = domains()
    await domains().underLoad(async () => {
      await domains().scale(0)
      await eventually(120, async () => {
        for (const node of nodes) {
          assert.equal(await sourceOf(cluster, node), 'API server')
          assert.match(await domains().status(node), /LP106/)
        }
      })
      await cluster.kubectl(...expose('alone'))
      await eventually(60, async () => {
        for (const node of nodes) assert.ok(await knows(node, 'alone'))
      })
      await domains().scale(2)
      await cluster.kubectl('delete', 'service', 'alone')
      await domains().settled()
    })
    await agree()
  })

  test('a zone that is cut off from the API server reads by the other one, which notices nothing, and misses nothing', async t => {
    const { cluster } = domains()
    // Who was told by the other zone before would notice nothing either, or be cut off with it.
    await untilNear(cluster, nodes, (node, replica) => (near.includes(node) ? near : far).includes(replica))
    await cluster.kubectl(...expose('before'))
    await eventually(60, async () => {
      for (const node of nodes) assert.ok(await knows(node, 'before'))
    })
    await domains().underLoad(async () => {
      const replicas = (await domains().podsOf('controlplane')).filter(({ node }) => far.includes(node))
      await domains().losing(far, 'the API server', async () => {
        const since = Date.now()
        await cluster.kubectl(...expose('meanwhile'))
        await cluster.kubectl('delete', 'service', 'before')
        const hasHeard = async (node: number) => {
          assert.ok((await knows(node, 'meanwhile')) && !(await knows(node, 'before')), `node${node}`)
        }
        await eventually(30, async () => {
          for (const node of near) await hasHeard(node)
        })
        for (const node of far) assert.ok(await knows(node, 'before'), 'it is not cut off')
        await eventually(180, async () => {
          for (const node of far) assert.ok(near.includes((await sourceOf(cluster, node)) as number))
        })
        t.diagnostic(`the zone that is cut off reads by the other one after ${Date.now() - since} ms`)
        await eventually(30, async () => {
          for (const node of far) await hasHeard(node)
          for (const node of nodes) assert.doesNotMatch(await domains().status(node), /LP10[567]/)
        })
        for (const replica of replicas) assert.match(await domains().page(replica, '/readyz'), saysNothing)
      })
      await domains().settled()
    })
    await agree()
  })
}
