import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { openSync } from 'node:fs'
import { test } from 'node:test'
import { createLog } from './log.ts'
import { LogRate } from './rates/lograte.ts'

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

test('nor do many objects of many namespaces, and another one has its lines', () => {
  const lines: string[] = []
  const log = createLog('info', undefined, line => lines.push(line))
  for (let i = 0; i < 9000; i++) log.warn({ object: `Service greedy-${i % 100}/noisy-${i}` }, 'problem')
  for (let i = 0; i < 3; i++) log.warn({ object: `Service quiet/web-${i}` }, 'problem')
  assert.ok(lines.length < 1100, `${lines.length} lines`)
  assert.equal(lines.filter(line => line.includes('quiet/')).length, 3)
})

test('a log goes on after a while, and says how many lines were left out', () => {
  let now = 0
  const rate = new LogRate(() => now)
  const taken = Array.from({ length: 50 }, () => rate.take('problem', 'Service a/noisy'))
  assert.equal(taken.filter(line => line !== undefined).length, 20)
  now = 60e3
  assert.equal(rate.take('problem', 'Service a/noisy'), 30)
})

test('a disk that is full neither ends what logs to it nor holds it up', () => {
  const program = `
    import { createLog, standardOutput } from '${new URL('log.ts', import.meta.url)}'
    const [log, write] = [createLog('info'), standardOutput()]
    const both = () => { log.info({}, 'a line'); write('another\\n') }
    both()
    setTimeout(() => { both(); process.exitCode = 7 }, 100)`
  const full = openSync('/dev/full', 'w')
  const child = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['ignore', full, full],
    timeout: 60_000,
  })
  assert.deepEqual([child.status, child.signal], [7, null])
})
