import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { readNack } from './nackdetail.ts'

const culprits = (detail: string, sent: readonly string[]) => [...readNack(detail, sent).culprits]

test('only the names that Envoy lists are culprits, not names that contain them or that they contain', () => {
  const clusters = 'Error adding/updating cluster(s) a/b/http2: cluster a/b/http is no good, b: x: y'
  assert.deepEqual(culprits(clusters, ['a/b/http', 'a/b/http2', '/b/http2', 'b', 'x', 'cluster a/b/http']), [
    'a/b/http2',
    'b',
  ])
  const listeners =
    'Error adding/updating listener(s) 10.0.0.1:8080: has the address of 10.0.0.1:80\n[fd00::1]:80: no\n'
  const sent = ['10.0.0.1:80', '10.0.0.1:8080', '110.0.0.1:8080', '[fd00::1]:80', '[fd00::1]:8']
  assert.deepEqual(culprits(listeners, sent), ['10.0.0.1:8080', '[fd00::1]:80'])
})

test('the rest of a response is in effect only if Envoy lists what is not, to the end', () => {
  const list = 'Error adding/updating cluster(s) a: no'
  assert.equal(readNack(list, ['a', 'b']).restApplied, true)
  assert.equal(readNack(`${list}...(truncated)`, ['a', 'b']).restApplied, false)
  assert.equal(readNack('Error adding/updating cluster(s) c: no', ['a', 'b']).restApplied, false)
  assert.equal(readNack('Unable to unpack as Cluster: a: no', ['a', 'b']).restApplied, false)
})

test('whatever names a NACK lists, exactly those are found', () => {
  const name = fc.stringMatching(/^[a-z0-9.:/[\]-]{1,12}$/)
  fc.assert(
    fc.property(fc.uniqueArray(name, { minLength: 1 }), fc.infiniteStream(fc.boolean()), (sent, isBad) => {
      const bad = sent.filter(() => isBad.next().value)
      const listeners = `Error adding/updating listener(s) ${bad.map(each => `${each}: no\n`).join('')}`
      assert.deepEqual(culprits(listeners, sent), bad)
      const clusters = `Error adding/updating cluster(s) ${bad.map(each => `${each}: no`).join(', ')}`
      assert.deepEqual(culprits(clusters, sent), bad)
    }),
  )
})
