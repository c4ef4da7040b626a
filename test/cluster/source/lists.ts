/** Objects are listed again, and many of them. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { until } from '../../../src/sources/testing.ts'
import { agrees, follow, options, paging, server, service, services, slice, slices } from './lab.ts'

test('a version that the server has forgotten leads to a list that tells only what changed', options, async t => {
  for (const name of ['g-kept', 'g-changed', 'g-deleted', 'g-recreated'])
    await server.must('POST', services, service(name))
  const followed = await follow(t)
  const { listener, proxy, shows, log } = followed
  listener.history.length = 0
  proxy.stall()
  await server.must('PATCH', `${services}/g-changed`, { spec: { ports: [{ name: 'http', port: 81 }] } })
  await server.must('DELETE', `${services}/g-deleted`)
  await server.must('DELETE', `${services}/g-recreated`)
  await server.must('POST', services, service('g-recreated', 81))
  await server.compact()
  await server.killServer()
  await server.startServer()
  proxy.cut()
  proxy.pass()
  await shows('g-changed', 81)
  await shows('g-deleted', undefined)
  await shows('g-recreated', 81)
  await until(
    () => listener.told().length === 0,
    () => listener.told().join('\n'),
  )
  assert.deepEqual(listener.history.filter(line => line.includes('default/g-')).sort(), [
    'put Service default/g-changed',
    'put Service default/g-recreated',
    'remove Service default/g-deleted',
  ])
  assert.ok(log.includes('Service 410'), log.join())
  await agrees(followed)
})

test(
  '2,000 objects are read as a stream and in pages, and nothing is told twice when they are listed again',
  options,
  async t => {
    for (const api of [server, paging]) {
      const names = Array.from({ length: 2000 }, (_, i) => `many-${i}`)
      for (let i = 0; i < names.length; i += 20) {
        await Promise.all(names.slice(i, i + 20).map(name => api.must('POST', slices, slice(name, '10.1.0.1'))))
      }
      const followed = await follow(t, { api })
      const { listener, proxy, shows } = followed
      const known = () =>
        [...listener.objects.keys()].filter(key => key.startsWith('EndpointSlice default/many-')).length
      assert.equal(known(), 2000)
      listener.history.length = 0
      proxy.stall()
      await api.must('DELETE', `${slices}/many-7`)
      await api.must('POST', services, service('paged'))
      await api.compact()
      await api.killServer()
      await api.startServer()
      proxy.cut()
      proxy.pass()
      await shows('paged', 80)
      await until(
        () => known() === 1999,
        () => `${known()} slices`,
      )
      assert.deepEqual(
        listener.history.filter(line => line.includes('Slice')),
        ['remove EndpointSlice default/many-7'],
      )
      await agrees(followed)
    }
  },
)

test('a list whose pages outlive their version is read in one piece', options, async t => {
  const { items } = await paging.must('GET', slices)
  assert.ok((items as unknown[]).length > 1000, 'the test before made them')
  // Whichever connection a page comes over, versions are gone faster than the next page can be asked for.
  const followed = await follow(t, { api: paging, synced: false, delayMs: 500 })
  const { listener, log } = followed
  for (let n = 1998; n > 1000 && !log.includes('EndpointSlice 410'); n--) {
    await paging.must('DELETE', `${slices}/many-${n}`)
    await paging.compact()
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  await until(
    () => listener.timesSynced === 1,
    () => listener.told().join('\n'),
    60_000,
  )
  assert.deepEqual(
    log.filter(line => /^EndpointSlice (410|whole|pages)$/.test(line)),
    ['EndpointSlice 410', 'EndpointSlice whole'],
  )
  assert.ok(listener.objects.has('EndpointSlice default/many-1999'))
  assert.ok(!listener.objects.has('EndpointSlice default/many-1998'))
  await agrees(followed)
})
