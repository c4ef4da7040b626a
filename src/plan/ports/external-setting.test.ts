import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Service } from '../../services/objects/service.ts'
import { anEndpoint, aPort, aService, aSlice, put } from '../../services/testing.ts'
import { countSteps } from '../../testing/steps.ts'
import { planOf, TestPlan } from '../testing.ts'
import type { ExternalObstacles } from './layer.ts'

describe('the setting external', () => {
  const annotation = 'config.lightpath.cloud/http-external'
  const annotations = { [annotation]: 'true' }
  const slice = aSlice([anEndpoint('10.244.1.2', { nodeName: 'node1' })])
  const open = { type: 'NodePort', ports: [aPort({ nodePort: 30080 })], annotations } as const
  const keepsNoAddress = { Local: 'Envoy does not keep the address' }

  function outside(fields: Partial<Service>, obstacles?: ExternalObstacles, slices = [slice]) {
    const plan = new TestPlan({ obstacles })
    const { problems } = plan.tell([put(aService({ ...open, ...fields })), ...slices.map(put)])
    const told = [...problems.values()].flat().map(({ code, reason }) => `${code} ${reason}`)
    return { layer: plan.get('whoami/whoami/http')?.external?.layer, told }
  }

  test('leads external clients of an http port through Envoy, of either policy where the node can', () => {
    for (const externalTrafficPolicy of ['Cluster', 'Local'] as const) {
      assert.deepEqual(outside({ externalTrafficPolicy }), {
        layer: { wants: 'envoy', protocol: 'http', reason: 'setting external: true' },
        told: [],
      })
    }
    assert.equal(outside({ externalTrafficPolicy: 'Cluster' }, keepsNoAddress).layer?.wants, 'envoy')
  })

  test('leaves it in the kernel layer while no endpoint may be used, which is no problem', () => {
    const far = aSlice([anEndpoint('10.244.2.2', { nodeName: 'node2' })])
    for (const slices of [[], [far]]) {
      const { layer, told } = outside({ externalTrafficPolicy: 'Local' }, {}, slices)
      assert.deepEqual([layer?.wants, told], ['kernel', []])
    }
  })

  for (const [why, fields, obstacles] of [
    ['sessionAffinity is ClientIP, which the kernel keeps', { sessionAffinity: 'ClientIP' }],
    ['label lightpath.cloud/proxy: disabled', { labels: { 'lightpath.cloud/proxy': 'disabled' } }],
    ['internalTrafficPolicy is Local', { internalTrafficPolicy: 'Local' }],
    ['setting overlay: false', { annotations: { ...annotations, 'config.lightpath.cloud/http-overlay': 'false' } }],
    ['Envoy does not keep the address', { externalTrafficPolicy: 'Local' }, keepsNoAddress],
  ] as const satisfies readonly (readonly [string, Partial<Service>, ExternalObstacles?])[]) {
    test(`has no effect, and says so once for both families, where ${why}`, () => {
      const dualStack = { ...fields, clusterIPs: ['10.96.0.10', 'fd00::10'] }
      const { layer, told } = outside(dualStack, obstacles)
      assert.deepEqual(layer, { wants: 'kernel', reason: why })
      assert.deepEqual(told, [`LP204 annotation ${annotation}: ${why}`])
    })
  }

  test('has an effect once the node can, and the problem is over', () => {
    const plan = new TestPlan({ obstacles: keepsNoAddress })
    plan.tell([put(aService({ ...open, externalTrafficPolicy: 'Local' })), put(slice)])
    const { ports, problems } = plan.setObstacles({})
    assert.deepEqual(
      ports.map(({ before, after }) => [before?.external?.layer.wants, after?.external?.layer.wants]),
      [['kernel', 'envoy']],
    )
    assert.deepEqual([...problems.values()].flat(), [])
    assert.deepEqual(plan.setObstacles({}).ports, [])
  })

  test('concerns no Service that is not reached from outside, however many there are', async () => {
    const names = Array.from({ length: 100 }, (_, index) => `inside-${index}`)
    const plan = planOf(...names.map(name => aService({ name })))
    const steps = await countSteps(() => plan.setObstacles(keepsNoAddress))
    assert.ok(steps / names.length < 10, `${steps / names.length} steps for each Service`)
  })

  test('has no effect, and says so, with a node port out of the range in which Envoy takes them', () => {
    const { layer, told } = outside({ ports: [aPort({ nodePort: 8080 })] })
    assert.equal(layer?.wants, 'kernel')
    assert.deepEqual(told, [
      `LP204 annotation ${annotation}: Envoy takes node ports from 30000 to 32767, and 8080 is none`,
    ])
  })

  test('has no effect, and says so, on a port that has no external address, or is not http', () => {
    assert.deepEqual(outside({ type: 'ClusterIP', ports: [aPort()] }), {
      layer: undefined,
      told: [`LP204 annotation ${annotation}: the Service is not reached from outside`],
    })
    const ports = [aPort({ name: 'db', nodePort: 30080 })]
    const { told } = outside({ ports, annotations: { 'config.lightpath.cloud/db-external': 'true' } })
    assert.match(told.join(), /^LP204 .*external is for http and grpc ports, and this one is tcp$/)
  })
})
