/** Connections that have begun to an endpoint whose packets are lost, when that endpoint is left out. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { portState } from '../../../src/kernel/testing/states.ts'
import type { Pod } from '../../../src/lab/network.ts'
import { runIn } from '../../../src/lab/processes.ts'
import { holdConnection, KernelLab, needsRoot } from './lab.ts'

describe('When an endpoint is left out', needsRoot, () => {
  let lab: KernelLab
  let living: Pod
  let dead: Pod
  let client: Pod

  before(async () => {
    lab = await KernelLab.create()
    living = await lab.addServer('node1', 'living')
    dead = await lab.addServer('node2', 'dead')
    client = await lab.network.addPod('node1', 'client')
    await lab.tables.start()
    lab.tables.synced()
  })
  after(() => lab?.destroy())

  const drops = (isOn: boolean) =>
    runIn(lab.network.nodes[1]!.netns, 'nft', ['-f', '-'], {
      input: isOn
        ? 'table inet dead { chain in { type filter hook prerouting priority -500; meta l4proto tcp drop; }; }'
        : 'delete table inet dead',
    })

  for (const [family, vip, address, separator] of [
    ['IPv4', '10.96.0.1', 'ip', ':'],
    ['IPv6', 'fd00:96::1', 'ip6', ' '],
  ] as const) {
    const id = family === 'IPv4' ? 'a/web/http' : 'a/web/http/IPv6'
    const web = (to: Pod, ...leftOut: readonly Pod[]) => {
      const [endpoints, others] = [[to], leftOut].map(
        pods =>
          portState(
            id,
            vip,
            pods.map(pod => `${pod[address]}${separator}8080@${pod.node}`),
          ).endpoints,
      )
      return { ...portState(id, vip, []), endpoints: endpoints!, ...(others!.length > 0 && { leftOut: others! }) }
    }
    const set = async (state: ReturnType<typeof web>) => {
      lab.tables.setPort(state)
      await lab.tables.settled()
    }
    const entries = () => lab.onNode('conntrack', '-L', '-f', family.toLowerCase(), '-p', 'tcp', '--orig-dst', vip)
    const untilBegun = () => lab.mended(async () => /SYN_SENT .* \[UNREPLIED\]/.test(await entries()))

    test(`a connection of ${family} that nobody has answered comes through elsewhere, and one that was answered stays`, async () => {
      await set(web(dead))
      const held = await holdConnection(client.netns, vip, 80)
      await drops(true)
      const begun = lab.connect(client.netns, vip, 80)
      const ofNode = lab.connect(lab.node.netns, vip, 80)
      await untilBegun()
      await set(web(living, dead))
      assert.equal(await begun, `living ${client[address]}`)
      assert.match(await ofNode, /^living /)
      await drops(false)
      assert.equal(await held.say('still there?'), 'still there?')
      held.close()
    })

    test(`a connection of ${family} waits on for an endpoint that is only not chosen any more`, async () => {
      await set(web(dead))
      await drops(true)
      const begun = lab.connect(client.netns, vip, 80)
      await untilBegun()
      await set(web(living))
      await drops(false)
      assert.equal(await begun, `dead ${client[address]}`)
    })
  }
})
