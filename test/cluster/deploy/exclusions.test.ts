/**
 * A node that loses all its packets, on a cluster of four with two control planes: agents leave out what these say is dead,
 * and so do EndpointSlices, where Pods have the readiness gate.
 */

import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { eventually, isRoot, lightpath, Nodes } from '../nodes.ts'

const skip = isRoot ? false : 'needs root'
const dead = 4
const living = [1, 2, 3]

describe('a node that loses all its packets', { skip }, () => {
  let cluster: Nodes

  before(async () => {
    cluster = await Nodes.of(4, async nodes => {
      // The control planes run elsewhere.
      await nodes.kubectl('cordon', `node${dead}`)
      await nodes.deploy('up', 'labelled', 'controlplane', 'reachability', 'reachability-gate', '--max-excluded=50')
      await nodes.kubectl('uncordon', `node${dead}`)
    })
    // A port without a name that Envoy knows: the kernel layer serves it.
    const expose = ['expose', 'deployment/whoami', '--name', 'raw', '--port', '81', '--target-port', '8080']
    await cluster.kubectl(...expose)
    await cluster.kubectl('create', 'namespace', 'gated')
    await cluster.kubectl('label', 'namespace', 'gated', 'lightpath.cloud/reachability-gate=true')
    const { spec, metadata, ...type } = JSON.parse(await cluster.kubectl('get', 'deployment/whoami', '-o', 'json'))
    const copy = join(await mkdtemp(join(tmpdir(), 'lightpath-gated-')), 'deployment.json')
    await writeFile(copy, JSON.stringify({ ...type, spec, metadata: { name: metadata.name, namespace: 'gated' } }))
    await cluster.kubectl('-n', 'gated', 'apply', '-f', copy)
    await rm(dirname(copy), { recursive: true })
    await cluster.kubectl('-n', 'gated', ...expose)
    await cluster.kubectl('-n', 'gated', 'rollout', 'status', 'deployment/whoami', '--timeout', '120s')
  })
  after(() => cluster?.down())

  const drops = (does: 'add' | 'del') =>
    Promise.all(
      ['-4', '-6'].map(family =>
        cluster.hack('node', String(dead), 'ip', family, 'rule', does, 'pref', '1', 'blackhole'),
      ),
    )
  const statusOf = (node: number) => lightpath('status', '--socket', cluster.socket(node), '--output', 'json')
  const excludedAt = async (node: number) => JSON.parse(await statusOf(node)).excluded as { readonly examples: unknown }
  const isReady = async (namespace: string) => {
    const ready = '{.items[*].endpoints[?(@.conditions.ready==true)].nodeName}'
    const slices = ['endpointslices', '-l', 'kubernetes.io/service-name=raw', '-o', `jsonpath=${ready}`]
    return (await cluster.kubectl('-n', namespace, 'get', ...slices)).split(' ').includes(`node${dead}`)
  }
  const load = async (service: string, port: number, ...args: readonly string[]) => {
    const url = (await cluster.url(service)).replace(/\/$/, `:${port}/`)
    return cluster.load(1, url, '--rate', '50', '--connections', '10', ...args)
  }

  test('gets nothing from any node long before Kubernetes takes its endpoints away, and all is as before once it is back', async t => {
    assert.ok(await isReady('gated'), 'a Pod waits for a control plane to become ready')
    const whoami = await cluster.url('whoami')
    await eventually(120, async () => {
      for (const node of living) assert.match(await cluster.curl(node, whoami), /X-Envoy-Attempt-Count: 1/i)
    })
    const gets = await load('whoami', 80)
    const connects = await load('raw', 81, '--fresh')
    await delay(2000)
    const began = Date.now()
    await drops('add')
    for (const node of living) {
      await eventually(30, async () => assert.match(JSON.stringify(await excludedAt(node)), new RegExp(`node${dead}`)))
    }
    const [, since = ''] = /since (\S+):/.exec(JSON.stringify(await excludedAt(1))) ?? []
    t.diagnostic(`excluded after ${Date.parse(since) - began} ms`)
    assert.ok(await isReady('whoami'), 'Kubernetes took it away first')
    await eventually(10, async () => assert.ok(!(await isReady('gated')), 'a Pod with the gate is ready'))
    t.diagnostic(`no Pod with the gate was ready there after ${Date.now() - began} ms`)
    const { firstErrors } = await connects.end()
    t.diagnostic(
      `connects that failed began ${firstErrors.map(({ at }) => Math.round(at - began)).join(', ')} ms after`,
    )
    const later = await load('raw', 81, '--fresh')
    await delay(5000)
    assert.deepEqual((await later.end()).errors, {})
    assert.ok(await isReady('whoami'), 'Kubernetes took it away meanwhile')
    const { errors, latencyMs } = await gets.end()
    t.diagnostic(`GETs took ${latencyMs?.max} ms at most`)
    assert.deepEqual(errors, {})
    const events = await cluster.kubectl('-n', 'default', 'get', 'events', '-o', 'jsonpath={.items[*].reason}')
    assert.match(events, /\bExcluded\b/)
    await drops('del')
    for (const node of living) {
      await eventually(60, async () => assert.deepEqual((await excludedAt(node)).examples, []))
    }
    await eventually(60, async () => assert.ok(await isReady('gated'), 'a Pod with the gate is not ready again'))
  })
})
