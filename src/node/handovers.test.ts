import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Handovers } from './handovers.ts'

function handoversAt(context: TestContext) {
  context.mock.timers.enable({ apis: ['setTimeout'] })
  const released: string[] = []
  const handovers = new Handovers(service => released.push(service))
  return { handovers, released, pass: (seconds: number) => context.mock.timers.tick(1000 * seconds) }
}

test('a Service that another proxy takes over is released once that proxy has had 10 s', context => {
  const { handovers, released, pass } = handoversAt(context)
  handovers.begin('shop/cart')
  pass(5)
  handovers.begin('shop/web')
  pass(5)
  assert.deepEqual(released, ['shop/cart'])
  pass(30)
  assert.deepEqual(released, ['shop/cart', 'shop/web'])
})

test('a Service that is taken over again meanwhile is released 10 s after that', context => {
  const { handovers, released, pass } = handoversAt(context)
  handovers.begin('shop/cart')
  pass(9)
  handovers.begin('shop/cart')
  pass(9)
  assert.deepEqual(released, [])
  pass(1)
  assert.deepEqual(released, ['shop/cart'])
})

test('no Service is released once the agent stops', context => {
  const { handovers, released, pass } = handoversAt(context)
  handovers.begin('shop/cart')
  handovers.stop()
  pass(30)
  assert.deepEqual(released, [])
})
