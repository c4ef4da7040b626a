import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { anEndpoint, aPort, aService, aSlice, put, remove } from '../../services/testing.ts'
import { TestPlan } from '../testing.ts'
import { EnvoyQuota } from './quota.ts'

const limits = { ofService: 3, ofNamespace: 8 }

const step = fc.record({
  key: fc.constantFrom('a/x', 'a/y', 'a/z', 'a/v', 'b/x'),
  wants: fc.integer({ min: 0, max: 6 }),
  created: fc.integer({ min: 0, max: 3 }),
})

test('property: whatever happened before, the oldest Services of a namespace get what they want within both limits, and every change of a share is reported', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), steps => {
      const quota = new EnvoyQuota(limits)
      const wanted = new Map<string, (typeof steps)[number]>()
      const known = new Map<string, number>()
      for (const one of steps) {
        wanted.set(one.key, one)
        for (const key of [one.key, ...quota.set(one.key, one.wants, one.created)]) known.set(key, quota.shareOf(key))
        for (const namespace of ['a', 'b']) {
          let left = limits.ofNamespace
          const inOrder = [...wanted.values()]
            .filter(({ key }) => key.startsWith(`${namespace}/`))
            .sort((a, b) => a.created - b.created || (a.key < b.key ? -1 : 1))
          for (const { key, wants } of inOrder) {
            const share = Math.min(wants, limits.ofService, left)
            left -= share
            assert.equal(quota.shareOf(key), share)
            assert.equal(known.get(key), share)
          }
        }
      }
    }),
  )
})

describe('of the ports that Envoy could take', () => {
  const ports = Array.from({ length: 5 }, (_, i) => aPort({ name: `http-${i}`, port: 80 + i }))
  const slice = (service: string) =>
    aSlice([anEndpoint('10.244.1.1')], {
      service,
      name: `${service}-1`,
      ports: ports.map(({ name }) => ({ name, protocol: 'TCP' as const, port: 8080 })),
    })
  const layersOf = (plan: TestPlan, name: string) =>
    ports.map(port => plan.get(`whoami/${name}/${port.name}`)?.layer.wants)

  test('a Service has the first so many, the kernel layer has the others, and the problem is reported', () => {
    const plan = new TestPlan({ limits: { ofService: 2, ofNamespace: 100 } })
    const { problems } = plan.tell([put(aService({ ports })), put(slice('whoami'))])
    assert.deepEqual(layersOf(plan, 'whoami'), ['envoy', 'envoy', 'kernel', 'kernel', 'kernel'])
    const told = problems.get('Service whoami/whoami')!
    assert.deepEqual(
      told.map(({ code }) => code),
      ['LP205'],
    )
    assert.match(told[0]!.remedy, /--envoy-ports-per-service/)
  })

  test('the older Service of a namespace keeps its own when another comes, and the younger one gets them when it goes', () => {
    const plan = new TestPlan({ limits: { ofService: 5, ofNamespace: 7 } })
    const [old, young] = ['old', 'young'].map((name, created) =>
      aService({ name, ports, created, clusterIPs: [`10.96.0.${created + 1}`] }),
    )
    plan.tell([put(young!), put(slice('young'))])
    assert.ok(layersOf(plan, 'young').every(layer => layer === 'envoy'))
    const { ports: changed } = plan.tell([put(old!), put(slice('old'))])
    assert.ok(layersOf(plan, 'old').every(layer => layer === 'envoy'))
    assert.deepEqual(layersOf(plan, 'young'), ['envoy', 'envoy', 'kernel', 'kernel', 'kernel'])
    assert.equal(changed.filter(({ id }) => id.startsWith('whoami/young/')).length, 3)
    plan.tell([remove(old!)])
    assert.ok(layersOf(plan, 'young').every(layer => layer === 'envoy'))
  })

  test('external addresses and node ports take a place each', () => {
    const plan = new TestPlan({ limits: { ofService: 3, ofNamespace: 100 } })
    const externalIPs = ['192.0.2.1', '192.0.2.2', '192.0.2.3']
    const annotations = { 'config.lightpath.cloud/http-external': 'true' }
    const layer = (ips: readonly string[]) => {
      plan.tell([put(aService({ annotations, externalIPs: ips })), put(aSlice([anEndpoint('10.244.1.1')]))])
      return plan.get('whoami/whoami/http')?.external?.layer.wants
    }
    assert.equal(layer(externalIPs.slice(1)), 'envoy')
    assert.equal(layer(externalIPs), 'kernel')
    assert.equal(plan.get('whoami/whoami/http')?.layer.wants, 'envoy')
  })
})
