import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { PortState } from '../../plan/ports/port.ts'
import { aPortState } from '../../plan/testing.ts'
import { defaultSettings } from '../../services/settings/definitions.ts'
import { events, redirectedStates, type State, transitions } from './lifecycle.ts'
import { drainIntervalMs, Node, redirectedTo, redirectText, settleMs } from './testing.ts'

const ids = ['shop/a/http', 'shop/b/http', 'shop/c/http'] as const
const pause = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))

function portOf(id: string, layer: 'envoy' | 'kernel', port: number, sharesListener: boolean): PortState {
  const settings = { ...defaultSettings, idleTimeout: sharesListener ? undefined : 1000 }
  const state = aPortState({ id, settings, name: id.split('/')[1]!, vip: `10.96.0.${10 + ids.indexOf(id as never)}` })
  const inLayer =
    layer === 'envoy'
      ? ({ wants: 'envoy', protocol: 'http', reason: 'port name http' } as const)
      : ({ wants: 'kernel', reason: 'overlay is false' } as const)
  return { ...state, layer: inLayer, port: { ...state.port, port } }
}

const id = fc.constantFrom(...ids)
const step = fc.oneof(
  fc.record({
    do: fc.constant('plan' as const),
    id,
    layer: fc.constantFrom<'envoy' | 'kernel'>('envoy', 'envoy', 'kernel'),
    port: fc.constantFrom(80, 81),
    sharesListener: fc.boolean(),
  }),
  fc.record({ do: fc.constant('remove' as const), id }),
  fc.record({
    do: fc.constantFrom(
      'acknowledge',
      'acknowledge',
      'kernel',
      'kernel',
      'lose',
      'dead',
      'alive',
      'busy',
      'idle',
      'pause',
    ),
  }),
)
/** Histories, most of which begin with two promoted frontends. */
const promoted: readonly Step[] = [
  { do: 'alive' },
  { do: 'plan', id: ids[0], layer: 'envoy', port: 80, sharesListener: true },
  { do: 'plan', id: ids[1], layer: 'envoy', port: 80, sharesListener: false },
  { do: 'acknowledge' },
  { do: 'pause' },
  { do: 'kernel' },
]
const history = fc
  .tuple(fc.constantFrom([], promoted, promoted), fc.array(step, { minLength: 5, maxLength: 25, size: 'max' }))
  .map(([before, steps]) => [...before, ...steps])
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

async function take(node: Node, one: Step): Promise<void> {
  switch (one.do) {
    case 'plan':
      node.plan(one.id, portOf(one.id, one.layer, one.port, one.sharesListener))
      break
    case 'remove':
      node.plan(one.id, undefined)
      break
    case 'acknowledge':
      if (node.isAlive) node.acknowledge()
      break
    case 'kernel':
      node.syncKernel()
      break
    case 'lose':
      node.lose()
      break
    case 'dead':
    case 'alive':
      node.setAlive(one.do === 'alive')
      break
    case 'busy':
    case 'idle':
      node.isBusy = one.do === 'busy'
      break
    default:
      await pause(settleMs + 3)
  }
}

/**
 * Checks that the kernel is to redirect the frontends whose state says so and no others, and that Envoy has what it
 * still redirects.
 */
function check(node: Node): void {
  const expected = [...node.lives.values()]
    .filter(({ state }) => redirectedStates.has(state))
    .flatMap(({ redirect }) => redirect!.addresses.map(redirectText))
  assert.deepEqual([...node.redirected].sort(), expected.sort())
  for (const address of [...node.redirected, ...node.redirectedYet]) {
    assert.ok(node.serves(address), `${address} is redirected, and Envoy does not have it`)
  }
}

describe('the life of a frontend', () => {
  test('has no state that cannot be reached, or cannot lead back to absent', () => {
    const reach = (from: State): ReadonlySet<State> => {
      const found = new Set<State>([from])
      for (const state of found) for (const next of Object.values(transitions[state])) found.add(next)
      return found
    }
    const states = Object.keys(transitions) as readonly State[]
    assert.deepEqual([...reach('absent')].sort(), [...states].sort())
    for (const state of states) assert.ok(reach(state).has('absent'), state)
    const used = new Set(Object.values(transitions).flatMap(to => Object.keys(to)))
    assert.deepEqual([...events].sort(), [...used].sort())
  })

  test('has Envoy serve whatever the kernel redirects to it, in whatever order events come', async () => {
    await fc.assert(
      fc.asyncProperty(history, async steps => {
        const node = new Node()
        try {
          for (const one of steps) {
            await take(node, one)
            check(node)
          }
        } finally {
          node.stop()
        }
      }),
      { numRuns: 60 },
    )
  })

  test('ends where the plan has it once nothing more happens, and leaks nothing', async () => {
    await fc.assert(
      fc.asyncProperty(history, async steps => {
        const node = new Node()
        try {
          for (const one of steps) await take(node, one)
          node.isBusy = false
          node.setAlive(true)
          for (let turn = 0; turn < 2; turn++) {
            node.syncKernel()
            node.acknowledge()
            await pause(settleMs + 3)
          }
          const wanted = node.wanted.map(({ id: one }) => one).sort()
          const deadline = Date.now() + 5000
          while (node.lives.size > wanted.length && Date.now() < deadline) await pause(drainIntervalMs)
          assert.deepEqual([...node.lives.keys()].sort(), wanted)
          assert.deepEqual([...node.redirected].sort(), node.wanted.flatMap(redirectedTo).sort())
          assert.equal(node.resources, wanted.length)
          check(node)
        } finally {
          node.stop()
        }
      }),
      { numRuns: 20 },
    )
  })
})
