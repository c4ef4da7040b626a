import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { createNetwork, type Network } from '../../../src/lab/network.ts'
import { Supervised } from '../../../src/lab/supervisor.ts'
import { pause, waitFor } from '../../../src/lab/wait.ts'
import { skip } from '../agent/lab.ts'

describe('a supervised process', { skip }, () => {
  let network: Network
  let supervised: Supervised

  before(async () => {
    network = await createNetwork({ nodes: 1, families: ['IPv4'] })
    const netns = network.nodes[0]!.netns
    supervised = new Supervised(network.processes, { netns, command: 'sleep', args: ['300'] })
  })

  after(() => network?.destroy())

  test('is started again with a new pid when it dies', async () => {
    await supervised.up()
    const first = supervised.pid
    supervised.kill('SIGKILL')
    const second = await waitFor('a new pid', 5000, () => supervised.pid !== first && supervised.pid)
    assert.notEqual(second, first)
  })

  test('stays down when it is told to, and comes back when it is told to', async () => {
    await supervised.down('SIGKILL')
    await pause(500)
    assert.equal(supervised.pid, undefined)
    await supervised.up()
    assert.ok(supervised.pid)
  })

  test('is ended also while it hangs, and is not restarted by the end of the lab', async () => {
    supervised.kill('SIGSTOP')
    await network.destroy()
    await pause(500)
    assert.equal(supervised.pid, undefined)
  })
})
