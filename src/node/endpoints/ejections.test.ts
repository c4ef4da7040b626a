import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EndpointLoad } from '../../envoy/program/admin.ts'
import { type Frontend, resourceNameOf } from '../../envoy/resources/frontend.ts'
import { waitFor } from '../../lab/wait.ts'
import { hostPort } from '../../net/address.ts'
import { aPortState } from '../../plan/testing.ts'
import { defaultSettings } from '../../services/settings/definitions.ts'
import type { Settings } from '../../services/settings/settings.ts'
import { aPort } from '../../services/testing.ts'
import { Ejections } from './ejections.ts'

const endpoints = ['10.0.0.1', '10.0.0.2', '10.0.0.3'].map(ip => ({ ip, port: 80 }))
const names = endpoints.map(({ ip, port }) => hostPort(ip, port))

/** A lab in which Envoy reports these requests and errors of each endpoint, first and later. */
function ejections(settings: Partial<Settings>, ...answers: readonly (readonly (readonly [number, number])[])[]) {
  const frontend: Frontend = {
    ...aPortState({ endpoints, settings: { ...defaultSettings, ...settings } }),
    layer: { wants: 'envoy', protocol: 'http', reason: 'test' },
  }
  const told: string[][] = []
  const changed: (() => void)[] = []
  let asked = 0
  const tested = new Ejections({
    frontendOf: id => (id === frontend.id ? frontend : undefined),
    lbPolicyOf: ({ settings }) => settings.lbPolicy ?? 'LEAST_REQUEST',
    loads: async clusters => {
      assert.deepEqual(clusters, [resourceNameOf(frontend)])
      const answer = answers[Math.min(asked++, answers.length - 1)]!
      const loads = answer.map(([requests, errors], i): [string, EndpointLoad] => [
        names[i]!,
        { given: requests, requests, errors },
      ])
      return new Map([[resourceNameOf(frontend), new Map(loads)]])
    },
    eject: (id, ejected) => {
      assert.equal(id, frontend.id)
      told.push([...ejected])
      for (const resolve of changed.splice(0)) resolve()
    },
    onEjection: () => undefined,
    log: { warn: () => undefined },
  })
  const change = () => new Promise<void>(resolve => void changed.push(resolve))
  return { tested, frontend, told, change, asked: () => asked }
}

const well = [
  [100, 0],
  [100, 0],
  [100, 0],
] as const

test('only what came since the first failure is compared, and an ejection ends by itself', async () => {
  const bad = [
    [100, 0],
    [150, 50],
    [150, 0],
  ] as const
  const { tested, frontend, told, change } = ejections({ outlierDetectionBaseEjectionTime: 100 }, well, bad)
  tested.failed(frontend.id)
  await change()
  assert.deepEqual(told, [[names[1]]])
  await change()
  assert.deepEqual(told.at(-1), [])
  tested.stop()
})

test('no more endpoints are ejected than the percentage allows, but one always may be', async () => {
  const bad = [
    [200, 60],
    [200, 50],
    [900, 0],
  ] as const
  const { tested, frontend, told, change } = ejections({}, well, bad)
  tested.failed(frontend.id)
  await change()
  assert.deepEqual(told, [[names[0]]])
  tested.stop()
})

test('Envoy is not asked about ports that hash clients, choose by latency, have the comparison off, or are not in Envoy', async () => {
  for (const settings of [
    { lbPolicy: 'MAGLEV' },
    { lbPolicy: 'PEAK_EWMA' },
    { outlierDetectionFailurePercentage: 0 },
  ] as const) {
    const { tested, frontend, asked } = ejections(settings, well)
    tested.failed(frontend.id)
    tested.failed('another/port/http')
    await new Promise(resolve => setTimeout(resolve, 20))
    assert.equal(asked(), 0)
    tested.stop()
  }
})

test('ports of others that fail, however many there are, keep none from being compared', async () => {
  const frontendOf = (id: string): Frontend => ({
    ...aPortState({
      id,
      namespace: id.split('/')[0]!,
      port: aPort({ port: Number(id.split('-')[1]) }),
      endpoints: Array.from({ length: id.startsWith('greedy') ? 100 : 3 }, (_, n) => ({ ip: `10.0.0.${n}`, port: 80 })),
    }),
    layer: { wants: 'envoy', protocol: 'http', reason: 'test' },
  })
  const asked = new Set<string>()
  const tested = new Ejections({
    frontendOf,
    lbPolicyOf: () => 'LEAST_REQUEST',
    loads: async clusters => {
      for (const cluster of clusters) asked.add(cluster)
      return new Map(clusters.map(cluster => [cluster, new Map()]))
    },
    eject: () => undefined,
    onEjection: () => undefined,
    log: { warn: () => undefined },
  })
  for (let n = 1; n <= 30; n++) tested.failed(`greedy/port-${n}`)
  tested.failed('modest/port-99')
  await waitFor('an answer', 20_000, () => asked.size > 0)
  tested.stop()
  assert.ok(asked.has(resourceNameOf(frontendOf('modest/port-99'))))
  assert.ok(asked.size <= 10, `${asked.size} ports of 100 endpoints`)
})
