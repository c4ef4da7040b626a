import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { PortState } from '../../../plan/ports/port.ts'
import { stateOf, withOutside } from '../../testing/external.ts'
import { portState } from '../../testing/states.ts'
import { Agent, overlayAddresses, overlayKeysOf, unordered, wanted, web } from '../../testing/tables.ts'
import { addressPortBytes } from '../bytes.ts'
import { ownerOf } from '../elements/elements.ts'
import { portKeys } from '../elements/plan.ts'
import { tableOf } from '../rules/ruleset.ts'

interface Step {
  readonly do: (typeof often)[number] | (typeof rarely)[number]
  readonly port: number
  readonly endpoints: readonly number[]
}

const port = fc.integer({ min: 0, max: 5 })
const rarely = ['clear', 'restart', 'delete tables', 'delete elements'] as const
const often = ['set', 'set', 'set', 'remove', 'up', 'up, shared', 'down', 'settle', 'settle'] as const
const steps = fc.array(
  fc.record<Step>({
    do: fc.constantFrom(...often, ...rarely),
    port,
    endpoints: fc.uniqueArray(fc.integer({ min: 1, max: 8 }), { maxLength: 6 }),
  }),
  { maxLength: 25 },
)

test('One endpoint of 5,000 that leaves costs a handful of elements', async () => {
  const agent = new Agent()
  const endpoints = Array.from({ length: 5000 }, (_, n) => `10.1.${n >> 8}.${n & 255}:80@node2`)
  await agent.run([portState('a/big/http', '10.0.0.1', endpoints)])
  agent.tables.setPort(portState('a/big/http', '10.0.0.1', endpoints.toSpliced(1234, 1)))
  await agent.tables.settled()
  const { added, removed } = agent.flushes.at(-1)!
  assert.deepEqual({ added, removed }, { added: 2, removed: 3 })
  await agent.tables.close()
})

test('A change of another Service waits for one batch of the 3,000 changed ports of one, not for all', async () => {
  const agent = new Agent()
  const ports = (endpoint: string) =>
    Array.from({ length: 3000 }, (_, n) =>
      portState(`a/many/p${n}`, '10.0.0.99', [endpoint], { port: { name: `p${n}`, protocol: 'TCP', port: n + 1 } }),
    )
  await agent.run([...ports('10.1.0.1:80@node2'), web])
  agent.flushes.length = 0
  agent.onFlush = () => {
    agent.onFlush = undefined
    agent.tables.setPort({ ...web, endpoints: [] })
  }
  for (const state of ports('10.1.0.2:80@node2')) agent.tables.setPort(state)
  await agent.tables.settled()
  assert.ok(agent.flushes.length > 3)
  assert.equal(
    agent.flushes.findIndex(({ ports }) => ports.includes(web.id)),
    1,
  )
  await agent.tables.close()
})

test('After any changes, restarts and foreign deletions the kernel has exactly what is asked for', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async sequence => {
      let agent = new Agent()
      await agent.run()
      const states = new Map<string, PortState>()
      const overlay = new Map<string, boolean>()
      /** Also removes VIP:ports that a port no longer has from the overlay. */
      const change = (id: string, after: PortState | undefined) => {
        const before = states.get(id)
        const kept = after ? overlayKeysOf(after) : []
        const left = before?.port.protocol === 'TCP' ? overlayKeysOf(before).filter(key => !kept.includes(key)) : []
        for (const key of left) overlay.delete(key)
        if (after) states.set(id, after)
        else states.delete(id)
      }
      for (const step of sequence) {
        const target = stateOf(step.port, step.endpoints)
        if (step.do === 'set') {
          change(target.id, target)
          agent.tables.setPort(target)
        } else if (step.do === 'remove') {
          change(target.id, undefined)
          agent.tables.removePort(target.id)
        } else if (step.do === 'down') {
          for (const key of overlayKeysOf(target)) overlay.delete(key)
          agent.tables.setOverlay(overlayAddresses(target), false)
        } else if (step.do === 'up' || step.do === 'up, shared') {
          const isShared = step.do === 'up, shared'
          for (const key of overlayKeysOf(target)) overlay.set(key, isShared)
          const addresses = overlayAddresses(target).map(address => ({ ...address, isShared }))
          agent.tables.setOverlay(addresses, true)
        } else if (step.do === 'clear') {
          overlay.clear()
          agent.tables.clearOverlay()
        } else if (step.do === 'settle') {
          await agent.tables.settled()
          assert.deepEqual(unordered(agent.nft.model.elements()), wanted(states.values(), overlay))
        } else if (step.do === 'restart') {
          for (const wish of overlay.keys()) {
            const owned = [...states.values()].some(state => overlayKeysOf(state).includes(wish))
            if (!owned) overlay.delete(wish)
          }
          await agent.tables.settled()
          await agent.tables.close()
          agent = new Agent(agent.nft)
          await agent.run([...states.values()])
          for (const state of states.values()) {
            for (const address of overlayAddresses(state)) {
              const isShared = overlay.get(addressPortBytes(address))
              agent.tables.setOverlay([{ ...address, isShared: isShared ?? false }], isShared !== undefined)
            }
          }
        } else {
          await agent.tables.settled()
          if (step.do === 'delete tables') agent.nft.model.apply([{ do: 'delete table', table: tableOf('ip') }])
          else
            agent.nft.model.apply(
              ['envoy', 'endpoints-tcp'].map(name => ({ do: 'flush set', table: tableOf('ip'), name })),
            )
          // It is noticed by the first change that touches what is gone.
          for (const state of [...states.values(), stateOf(0, [])]) {
            const bare = { ...state, endpoints: [], external: undefined }
            change(state.id, bare)
            agent.tables.setPort(bare)
          }
          await agent.tables.settled()
          change('ns/s0/p', stateOf(0, [1, 2]))
          agent.tables.setPort(stateOf(0, [1, 2]))
        }
      }
      await agent.tables.settled()
      assert.deepEqual(unordered(agent.nft.model.elements()), wanted(states.values(), overlay))
      assert.equal(agent.problems.size, 0)
      await agent.tables.close()
    }),
    { numRuns: 50 },
  )
})

test('A frontend that went while no agent was there keeps no port from being written', async () => {
  const sticky = withOutside({ ...stateOf(3, [1, 2, 3]), affinitySeconds: 10 }, 3, 4)
  const bare = { ...sticky, endpoints: [], external: undefined }
  for (const later of [bare, { ...sticky, vip: '10.0.0.9' }]) {
    const first = new Agent()
    await first.run([sticky])
    await first.tables.close()
    const second = new Agent(first.nft)
    await second.run([later])
    assert.deepEqual([...second.problems], [])
    assert.deepEqual(unordered(second.nft.model.elements()), wanted([later]))
    await second.tables.close()
  }
})

test('A change touches no element of another port', async () => {
  const states = Array.from({ length: 5 }, (_, number) => stateOf(number, [1, 2, 3, 4]))
  await fc.assert(
    fc.asyncProperty(port, fc.uniqueArray(fc.integer({ min: 1, max: 8 })), async (number, endpoints) => {
      const agent = new Agent()
      await agent.run(states)
      const before = agent.nft.model.found()
      const changed = stateOf(number, endpoints)
      const own = [...portKeys(changed), ...(states[number] ? portKeys(states[number]) : [])]
      agent.tables.setPort(changed)
      await agent.tables.settled()
      const after = agent.nft.model.found()
      for (const name of new Set([...before.keys(), ...after.keys()])) {
        const owner = ownerOf(name)
        if (owner !== undefined && !own.includes(owner)) assert.equal(after.get(name), before.get(name), name)
      }
      await agent.tables.close()
    }),
    { numRuns: 30 },
  )
})
