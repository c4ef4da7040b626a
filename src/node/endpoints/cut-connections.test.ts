import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CutConnections } from './cut-connections.ts'

const id = 'shop/web/http'

test('a port has no open connections used for an hour after a GET met the end of one, also if it went and came back', t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let areCut = false
  const connections = new CutConnections((_, now) => {
    areCut = now
  })
  connections.failed(id, { method: 'POST', isCut: true })
  connections.failed(id, { method: 'GET', isCut: false })
  assert.equal(areCut, false)
  connections.failed(id, { method: 'GET', isCut: true })
  assert.equal(areCut, true)
  areCut = false
  connections.failed(id, { method: 'GET', isCut: true })
  assert.equal(areCut, true)
  t.mock.timers.tick(3600e3)
  assert.equal(areCut, false)
})
