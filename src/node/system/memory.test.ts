import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { giveMemoryBack } from './memory.ts'

/** Below the size from which malloc maps blocks of their own. */
const blockBytes = 32 * 1024

test('Memory that is freed between blocks that stay goes back to the system', async t => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  mock.timers.enable({ apis: ['setInterval'] })
  t.after(() => mock.timers.reset())
  const memory = giveMemoryBack()
  t.after(() => memory.stop())
  const blocks: (Uint8Array | undefined)[] = Array.from({ length: 4000 }, () => new Uint8Array(blockBytes).fill(1))
  for (const [index] of blocks.entries()) if (index % 10 !== 0) blocks[index] = undefined
  collect()
  const before = process.memoryUsage.rss()
  const returned = () => before - process.memoryUsage.rss()
  // Threads of V8's own free the blocks, some of them later.
  for (let tries = 0; tries < 100 && returned() <= 50e6; tries++) {
    await setTimeout(20)
    mock.timers.tick(10_000)
  }
  assert.ok(returned() > 50e6, `${returned()} bytes came back`)
  assert.equal(blocks.filter(block => block !== undefined).length, 400)
})
