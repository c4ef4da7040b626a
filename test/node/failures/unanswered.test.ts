/** Endpoints that only new connections go to, by pods through the kernel layer and by the node itself, as Envoy does. */

import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { portState } from '../../../src/kernel/testing/states.ts'
import { netnsPath } from '../../../src/lab/leftovers.ts'
import type { Pod } from '../../../src/lab/network.ts'
import { type Child, runIn } from '../../../src/lab/processes.ts'
import { waitFor } from '../../../src/lab/wait.ts'
import { hostPort } from '../../../src/net/address.ts'
import { UnansweredEndpoints } from '../../../src/node/exclusions/unanswered.ts'
import { silentLog } from '../../../src/sources/testing.ts'
import { KernelLab, needsRoot } from '../kernel/lab.ts'

/** A second; each waits for its answer without the next one waiting. */
const rate = '100'
const limitMs = 20_000
/** More than enough to be suspected (`node/exclusions/doubts.ts`). */
const seconds = 5
/** After a doubt, as of the test before. */
const restMs = 5000
/** Or until it is killed. */
const longSeconds = 60
const [port, smallPort] = [8080, 8081]

const families = [
  { family: 'IPv4', vips: ['10.96.0.1', '10.96.0.2'], address: 'ip', colon: ':' },
  { family: 'IPv6', vips: ['fd00:96::1', 'fd00:96::2'], address: 'ip6', colon: ' ' },
] as const

describe('An endpoint that gets new connections only', needsRoot, () => {
  let lab: KernelLab
  let endpoint: Pod
  let client: Pod
  let small: Child
  let unanswered: UnansweredEndpoints
  const suspected = new Set<string>()

  before(async () => {
    lab = await KernelLab.create()
    endpoint = await lab.addServer('node2', 'endpoint')
    small = await lab.spawn(endpoint.netns, ['serve', 'small', 'tcp', String(smallPort), '1'])
    client = await lab.network.addPod('node1', 'client')
    await lab.tables.start()
    for (const { family, vips, address, colon } of families) {
      for (const [index, at] of [port, smallPort].entries()) {
        const id = `a/web${index}/http${family === 'IPv4' ? '' : '/IPv6'}`
        lab.tables.setPort(portState(id, vips[index]!, [`${endpoint[address]}${colon}${at}@node2`]))
      }
    }
    lab.tables.synced()
    await lab.tables.settled()
    unanswered = new UnansweredEndpoints({
      families: ['IPv4', 'IPv6'],
      suspicions: { maySuspect: () => true, suspect: one => void suspected.add(one) },
      log: silentLog,
      netns: netnsPath(lab.node.netns),
    })
    unanswered.start()
  })
  beforeEach(() => suspected.clear())
  after(async () => {
    await unanswered?.stop()
    await lab?.destroy()
  })

  /** Of the packets of TCP that pass the endpoint's node, in either direction. */
  const drop = (what: string) =>
    runIn(lab.network.nodes[1]!.netns, 'nft', ['-f', '-'], {
      input: `table inet drops { chain in { type filter hook prerouting priority -500; meta l4proto tcp ${what}; }; }`,
    })
  const dropNothing = () => runIn(lab.network.nodes[1]!.netns, 'nft', ['delete', 'table', 'inet', 'drops'])
  const knock = (from: string, ip: string, at: number, forSeconds = seconds) =>
    lab.spawn(from, ['knock', ip, String(at), rate, String(forSeconds)])
  const afterKnocks = () => sleep(seconds * 1000)

  for (const { family, vips, address } of families) {
    const name = () => hostPort(endpoint[address], port)
    const callers = [
      ['pods', (forSeconds?: number) => knock(client.netns, vips[0], 80, forSeconds)],
      ['the node', (forSeconds?: number) => knock(lab.node.netns, endpoint[address], port, forSeconds)],
    ] as const

    for (const [who, call] of callers) {
      test(`is suspected when it answers ${who} no more by ${family}, and not once it does again`, async () => {
        await drop('drop')
        const knocking = await call(longSeconds)
        await waitFor('a suspicion', limitMs, async () => suspected.has(name()))
        await dropNothing()
        await sleep(seconds * 1000)
        knocking.kill('SIGTERM')
        suspected.clear()
        await call()
        await afterKnocks()
        assert.deepEqual([...suspected], [])
      })

      test(`is not suspected when one packet of twenty is lost between it and ${who}, by ${family}`, async () => {
        await drop('numgen random mod 100 < 5 drop')
        await call()
        await afterKnocks()
        await dropNothing()
        assert.deepEqual([...suspected], [])
      })
    }

    test(`is not suspected with a full backlog by ${family}, as long as it takes some between two looks`, async () => {
      await knock(client.netns, vips[1], 80)
      for (const end = Date.now() + seconds * 1000; Date.now() < end; ) {
        for (const [signal, ms] of [
          ['SIGSTOP', 150],
          ['SIGCONT', 75],
        ] as const) {
          small.kill(signal)
          await sleep(ms)
        }
      }
      assert.deepEqual([...suspected], [])
    })

    test(`is not suspected while an older connection of the node hears from it by ${family}`, async () => {
      const talk = await lab.spawn(lab.node.netns, ['stay', endpoint[address], String(smallPort)])
      small.kill('SIGSTOP')
      const knocking = await knock(client.netns, vips[1], 80, longSeconds)
      await sleep(restMs + seconds * 1000)
      knocking.kill('SIGTERM')
      talk.kill('SIGTERM')
      small.kill('SIGCONT')
      assert.deepEqual([...suspected], [])
    })
  }
})
