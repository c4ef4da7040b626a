/**
 * A node that loses all its packets: agents of both zones leave out what control planes say is dead, and so do
 * EndpointSlices, where Pods have the readiness gate.
 */

import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { before, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { noAdmissionPolicies } from '../apiserver.ts'
import { eventually } from '../nodes.ts'
import { type Domains, nodes } from './domains.ts'

/** A control plane of its zone runs there, too. */
const dead = 4
const living = nodes.filter(node => node !== dead)

export function testDeadNode(domains: () => Domains): void {
  before(async () => {
    const { cluster } = domains()
    await cluster.kubectl('create', 'namespace', 'gated')
    await cluster.kubectl('label', 'namespace', 'gated', 'lightpath.cloud/reachability-gate=true')
    const { spec, metadata, ...type } = JSON.parse(await cluster.kubectl('get', 'deployment/whoami', '-o', 'json'))
    const copy = join(await mkdtemp(join(tmpdir(), 'lightpath-gated-')), 'deployment.json')
    await writeFile(copy, JSON.stringify({ ...type, spec, metadata: { name: metadata.name, namespace: 'gated' } }))
    await cluster.kubectl('-n', 'gated', 'apply', '-f', copy)
    await rm(dirname(copy), { recursive: true })
    const expose = ['expose', 'deployment/whoami', '--name', 'raw', '--port', '81', '--target-port', '8080']
    await cluster.kubectl('-n', 'gated', ...expose)
    await cluster.kubectl('-n', 'gated', 'rollout', 'status', 'deployment/whoami', '--timeout', '120s')
  })

  const excludedAt = async (node: number) =>
    JSON.parse(await domains().status(node)).excluded as { readonly examples: unknown }
  /** Kubernetes before 1.36 has no policy that gives Pods the gate. */
  const hasGate = noAdmissionPolicies === undefined
  const isReady = async (namespace: string) => {
    const ready = '{.items[*].endpoints[?(@.conditions.ready==true)].nodeName}'
    const slices = ['endpointslices', '-l', 'kubernetes.io/service-name=raw', '-o', `jsonpath=${ready}`]
    return (await domains().cluster.kubectl('-n', namespace, 'get', ...slices)).split(' ').includes(`node${dead}`)
  }

  test('a node without packets gets nothing from any node long before Kubernetes takes its endpoints away, and all is as before once it is back', async t => {
    const { cluster } = domains()
    assert.ok(await isReady('gated'), 'a Pod waits for a control plane to become ready')
    const whoami = await cluster.url('whoami')
    await eventually(120, async () => {
      for (const node of living) assert.match(await cluster.curl(node, whoami), /X-Envoy-Attempt-Count: 1/i)
    })
    const gets = await Promise.all([1, 2].map(node => domains().gets(node)))
    const connects = await Promise.all([1, 2].map(node => domains().connects(node)))
    await delay(2000)
    await domains().losing([dead], 'everywhere', async () => {
      const began = Date.now()
      await eventually(30, async () => {
        for (const node of living) assert.match(JSON.stringify(await excludedAt(node)), new RegExp(`node${dead}`))
      })
      t.diagnostic(`all nodes knew after ${Date.now() - began} ms`)
      assert.ok(await isReady('whoami'), 'Kubernetes took it away first')
      if (hasGate) {
        await eventually(10, async () => assert.ok(!(await isReady('gated')), 'a Pod with the gate is ready'))
        t.diagnostic(`no Pod with the gate was ready there after ${Date.now() - began} ms`)
      }
      for (const [i, load] of connects.entries()) {
        const { firstErrors } = await load.end()
        const failed = firstErrors.map(({ at }) => Math.round(at - began))
        t.diagnostic(`connects of node${i + 1} that failed began ${failed.join(', ')} ms after`)
      }
      const later = await Promise.all([1, 2].map(node => domains().connects(node)))
      for (const node of living) {
        const says = /excluded since \S+: connections time out there, say node\d.*; it is silent/
        assert.match(await domains().explain('whoami/raw', node), says)
      }
      await delay(3000)
      for (const [i, load] of later.entries()) {
        const { firstErrors } = await load.end()
        const failed = firstErrors.map(({ at, error }) => `${error} ${Math.round(at - began)}`)
        assert.deepEqual(failed, [], `connects of node${i + 1}`)
      }
      assert.ok(await isReady('whoami'), 'Kubernetes took it away meanwhile')
      for (const load of gets) {
        const { errors, latencyMs } = await load.end()
        t.diagnostic(`GETs took ${latencyMs?.max} ms at most`)
        assert.deepEqual(errors, {})
      }
      const events = await cluster.kubectl('-n', 'default', 'get', 'events', '-o', 'jsonpath={.items[*].reason}')
      assert.match(events, /\bExcluded\b/)
    })
    await eventually(60, async () => {
      for (const node of living) assert.deepEqual((await excludedAt(node)).examples, [])
    })
    await eventually(60, async () => assert.ok(await isReady('gated'), 'a Pod with the gate is not ready again'))
    await domains().settled()
  })
}
