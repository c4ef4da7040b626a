import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { ConnectionCounts } from '../../envoy/program/admin.ts'
import type { Frontend } from '../../envoy/resources/frontend.ts'
import { aPortState } from '../../plan/testing.ts'
import { defaultSettings } from '../../services/settings/definitions.ts'
import { type Evidence, evidenceOf } from './lasting-connections.ts'

interface Look extends ConnectionCounts {
  readonly endpoints: readonly string[]
  readonly spillOver: readonly string[]
  readonly ejectedByAgent: boolean
  readonly idleTimeout: number
}

const both = ['10.0.0.1', '10.0.0.2']
const third = '10.0.0.3'
const first: Look = {
  ...{ endpoints: both, spillOver: [], ejectedByAgent: false, idleTimeout: 1000 },
  ...{ opened: 1000, http2: 5, byTimeout: 30, byEndpoint: 3, ejected: 0 },
}

const endpointsAt = (ips: readonly string[]) => ips.map(ip => ({ ip, port: 80 }))

function frontendOf({ endpoints, spillOver, ejectedByAgent, idleTimeout }: Look): Frontend {
  const state = aPortState({
    endpoints: endpointsAt(endpoints),
    spillOver: endpointsAt(spillOver),
    settings: { ...defaultSettings, upstreamIdleTimeout: idleTimeout },
  })
  return { ...state, observed: ejectedByAgent ? { ejected: new Set([`${endpoints[0]}:80`]) } : undefined }
}

function after(...looks: readonly Partial<Look>[]): Evidence {
  let look = first
  return [{}, ...looks].reduce<Evidence | undefined>((evidence, change) => {
    look = { ...look, ...change }
    return evidenceOf(evidence, frontendOf(look), look)
  }, undefined)!
}

const busy = { opened: 1200 }
const enough = { byTimeout: 50 }

test('endpoints are watched once connections are opened often, and none is ended by them', () => {
  assert.equal(after({ opened: 1199 }).connections, 'fresh')
  assert.equal(after({ opened: 1199 }, { opened: 1398 }).connections, 'fresh')
  assert.equal(after({ opened: 1200, byEndpoint: 4 }).connections, 'fresh')
  assert.equal(after(busy).connections, 'watched')
})

test('endpoints let connections live when ten for each have timed out since they are watched, and none is ended by them', () => {
  assert.equal(after(busy, { byTimeout: 49 }).connections, 'watched')
  assert.equal(after(busy, { byTimeout: 49 }, enough).connections, 'lasting')
  assert.equal(after(busy, { ...enough, byEndpoint: 4 }).connections, 'fresh')
})

test('a connection that an endpoint ends, a new endpoint and counts that began anew have it shown again', () => {
  assert.equal(after(busy, enough, { byEndpoint: 4 }).connections, 'fresh')
  assert.equal(after(busy, enough, { endpoints: [...both, third] }).connections, 'fresh')
  assert.equal(after(busy, enough, { endpoints: [both[0]!, third] }).connections, 'fresh')
  assert.equal(after(busy, enough, { opened: 10 }).connections, 'fresh')
  assert.equal(after(busy, enough, { endpoints: [both[1]!] }).connections, 'lasting')
})

test('nothing is watched while an endpoint gets little: beside endpoints to spill over to, or while one is ejected', () => {
  for (const few of [{ spillOver: [third] }, { ejected: 1 }, { ejectedByAgent: true }]) {
    assert.equal(after({ ...busy, ...few }).connections, 'fresh')
    assert.equal(after(busy, { ...enough, ...few }).connections, 'fresh')
  }
  assert.equal(after(busy, enough, { ejected: 1 }).connections, 'lasting', 'what was seen of it still holds')
  assert.equal(after(busy, enough, { spillOver: [third] }).connections, 'fresh')
})

test('another idle time-out has it shown anew, and nothing is watched that lets connections wait for long or for ever', () => {
  assert.equal(after(busy, enough, { idleTimeout: 2000 }).connections, 'fresh')
  assert.equal(after(busy, { ...enough, idleTimeout: 2000 }).connections, 'fresh')
  assert.equal(after({ idleTimeout: 2000 }, busy, enough).connections, 'lasting')
  for (const idleTimeout of [0, 120_000]) assert.equal(after({ idleTimeout }, busy).connections, 'fresh')
})

test('connections of HTTP/2 show nothing', () => {
  assert.equal(after({ ...busy, http2: 6 }).connections, 'fresh')
  assert.equal(after(busy, { ...enough, http2: 6 }).connections, 'fresh')
})

test('no endpoint is known to let connections live that has ended one since, or came since', () => {
  const step = fc.record({
    endpoints: fc.uniqueArray(fc.constantFrom(...both, third), { minLength: 1 }),
    opened: fc.constantFrom(0, 200),
    timedOut: fc.constantFrom(0, 5, 30),
    ended: fc.constantFrom(0, 0, 0, 1),
  })
  const property = fc.property(fc.array(step, { minLength: 1, maxLength: 10 }), steps => {
    let counts: ConnectionCounts = { opened: 0, http2: 0, byTimeout: 0, byEndpoint: 0, ejected: 0 }
    let evidence: Evidence | undefined
    for (const { endpoints, opened, timedOut, ended } of steps) {
      counts = {
        ...counts,
        opened: counts.opened + opened,
        byTimeout: counts.byTimeout + timedOut,
        byEndpoint: counts.byEndpoint + ended,
      }
      const before = evidence
      evidence = evidenceOf(before, frontendOf({ ...first, endpoints }), counts)
      if (evidence.connections !== 'lasting') continue
      assert.equal(ended, 0)
      assert.ok(endpoints.every(endpoint => before!.endpoints.has(`${endpoint}:80`)))
    }
  })
  fc.assert(property)
})
