import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLog } from './log.ts'
import { LogRate } from './lograte.ts'

test('repeated lines about one object fill no log, and others are written', () => {
  const lines: string[] = []
  const log = createLog('info', undefined, line => lines.push(line))
  for (let i = 0; i < 9000; i++) log.warn({ object: 'Service a/noisy', reason: `key ${i}` }, 'problem')
  log.warn({ object: 'Service b/quiet' }, 'problem')
  assert.ok(lines.length < 30, `${lines.length} lines`)
  assert.match(lines.at(-1)!, /b\/quiet/)
})

test('many objects of one tenant fill no log either, and other messages are written', () => {
  const lines: string[] = []
  const log = createLog('info', undefined, line => lines.push(line))
  for (let i = 0; i < 9000; i++) log.warn({ object: `Service a/noisy-${i}` }, 'problem')
  log.warn({}, 'another')
  assert.ok(lines.length < 1100, `${lines.length} lines`)
  assert.match(lines.at(-1)!, /another/)
})

test('a log goes on after a while, and says how many lines were left out', () => {
  let now = 0
  const rate = new LogRate(() => now)
  const taken = Array.from({ length: 50 }, () => rate.take('problem', 'Service a/noisy'))
  assert.equal(taken.filter(line => line !== undefined).length, 20)
  now = 60e3
  assert.equal(rate.take('problem', 'Service a/noisy'), 30)
})
