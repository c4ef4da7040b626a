/** What a control plane tells Kubernetes of Pods, by the rights and admission policies of deploy/ on a real API server. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Ask } from '../../../src/cluster/api.ts'
import type { ReadyEndpoints } from '../../../src/controlplane/failures/readyendpoints.ts'
import { conditionWriter } from '../../../src/controlplane/reachability/podcondition.ts'
import { Reachability } from '../../../src/controlplane/reachability/reachability.ts'
import type { Exclusion } from '../../../src/exclusions/exclusion.ts'
import { silentLog } from '../../../src/sources/testing.ts'
import { rawList, rawObject } from '../../../src/text/raw.ts'
import { type ApiServerProcess, noAdmissionPolicies } from '../apiserver.ts'
import { eventually } from '../nodes.ts'

interface Lab {
  /** Has the namespaces `shop`, whose Pods get the gate, and `other`. */
  readonly server: ApiServerProcess
  /** Of a control plane that reads from there. */
  readonly ready: () => ReadyEndpoints
  /** With the rights of the control plane. */
  readonly ask: () => Promise<Ask>
  readonly options: { readonly skip: string | undefined; readonly timeout: number }
}

const condition = 'lightpath.cloud/Reachable'
const exclusionOf = (name: string): Exclusion => ({
  ...{ of: 'endpoint', name, failure: 'timed out' },
  ...{ since: 0, by: ['node1', 'node2'], isSilent: false },
})

export function testReachability({ server, ready, ask, options }: Lab): void {
  /** Each has a Pod of its own, with an address and ready as if by its kubelet. */
  async function makePod(namespace: string, name: string, ip: string): Promise<void> {
    const path = `/api/v1/namespaces/${namespace}`
    await server.ask('POST', `${path}/serviceaccounts`, { metadata: { name: 'somebody' } })
    const containers = [{ name: 'server', image: 'server' }]
    const spec = { containers, nodeName: 'node1', serviceAccountName: 'somebody' }
    await server.must('POST', `${path}/pods`, { apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec })
    const conditions = ['ContainersReady', 'Ready'].map(type => ({ type, status: 'True' }))
    const status = { phase: 'Running', podIP: ip, podIPs: [{ ip }], conditions }
    await server.must('PATCH', `${path}/pods/${name}/status`, { status })
  }

  async function statusOf(pod: string): Promise<Readonly<Record<string, unknown>>> {
    const [namespace, name] = pod.split('/')
    const { status } = await server.must('GET', `/api/v1/namespaces/${namespace}/pods/${name}`)
    const conditions = rawList(rawObject(status).conditions).map(rawObject)
    return Object.fromEntries(conditions.map(({ type, status }) => [type, status]))
  }

  const allReady = { ContainersReady: 'True', Ready: 'True' }

  test('Pods of namespaces with the label get the gate, and its condition with the first word of their kubelet', {
    ...options,
    skip: options.skip ?? noAdmissionPolicies,
  }, async () => {
    const path = '/api/v1/namespaces/shop/pods'
    let made = 0
    // The API server hears of its own configuration by a watch.
    await eventually(30, async () => {
      const name = `gated-${made++}`
      await makePod('shop', name, `10.244.3.${made}`)
      const { spec } = await server.must('GET', `${path}/${name}`)
      assert.deepEqual(rawObject(spec).readinessGates, [{ conditionType: condition }])
      assert.deepEqual(await statusOf(`shop/${name}`), { ...allReady, [condition]: 'True' })
    })
    await makePod('other', 'plain', '10.244.4.1')
    const { spec } = await server.must('GET', '/api/v1/namespaces/other/pods/plain')
    assert.equal(rawObject(spec).readinessGates, undefined)
    assert.deepEqual(await statusOf('other/plain'), allReady)
    const containers = [{ name: 'server', image: 'server' }]
    const gates = [{ conditionType: 'example.com/own' }]
    const pod = { containers, serviceAccountName: 'somebody', readinessGates: gates }
    const own = await server.must('POST', path, { metadata: { name: 'own' }, spec: pod })
    assert.deepEqual(rawObject(own.spec).readinessGates, [...gates, { conditionType: condition }])
  })

  test('a control plane tells which Pods cannot be reached and takes it back, and what follows it hears by its watch', {
    ...options,
    skip: options.skip ?? noAdmissionPolicies,
  }, async () => {
    const slice = {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'cart-1', labels: { 'kubernetes.io/service-name': 'cart' } },
      addressType: 'IPv4',
      ports: [{ name: 'http', port: 8080 }],
    }
    const ips = ['10.244.5.1', '10.244.5.2', '10.244.5.3']
    for (const [i, ip] of ips.entries()) await makePod('shop', `cart-${i}`, ip)
    await makePod('other', 'cart', '10.244.6.1')
    const endpoints = (addresses: readonly string[]) => addresses.map(ip => ({ addresses: [ip], conditions: {} }))
    await server.must('POST', '/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices', {
      ...slice,
      endpoints: endpoints(ips),
    })
    await server.must('POST', '/apis/discovery.k8s.io/v1/namespaces/other/endpointslices', {
      ...slice,
      endpoints: endpoints(['10.244.6.1']),
    })
    let exclusions = [...ips, '10.244.6.1'].map(ip => exclusionOf(`${ip}:8080`))
    const reachability = new Reachability({
      ready: ready(),
      exclusions: () => exclusions,
      isTeller: () => true,
      write: conditionWriter(await ask()),
      share: 0.5,
      times: { everyMs: 50, settleMs: 0 },
      log: silentLog,
    })
    const says = (pod: string, status: Readonly<Record<string, string>>) =>
      eventually(30, async () => assert.deepEqual(await statusOf(pod), status))
    try {
      const gone = { ContainersReady: 'True', Ready: 'False', [condition]: 'False' }
      // The Service can spare one of three. Who has no gate stays ready.
      await says('shop/cart-0', gone)
      await says('other/cart', { ...allReady, [condition]: 'False' })
      for (const pod of ['shop/cart-1', 'shop/cart-2']) await says(pod, { ...allReady, [condition]: 'True' })
      exclusions = []
      // Whether it is ready is for its kubelet to say.
      await says('shop/cart-0', { ...gone, [condition]: 'True' })
      await says('other/cart', { ...allReady, [condition]: 'True' })
    } finally {
      await reachability.stop()
    }
  })

  test('a condition is written for the Pod that there is, and for none that is gone', options, async () => {
    const write = conditionWriter(await ask())
    const exclusion = exclusionOf('10.244.7.1:8080')
    await write({ pod: 'other/nobody', exclusion })
    await makePod('other', 'cart-2', '10.244.7.1')
    for (let i = 0; i < 2; i++) await write({ pod: 'other/cart-2', exclusion })
    const { status } = await server.must('GET', '/api/v1/namespaces/other/pods/cart-2')
    const found = rawList(rawObject(status).conditions)
      .map(rawObject)
      .find(({ type }) => type === condition)
    assert.equal(found?.reason, 'Excluded')
    assert.match(String(found?.message), /^excluded since 1970-01-01T00:00:00.000Z: .* say node1, node2$/)
    await write({ pod: 'other/cart-2', exclusion: undefined })
    assert.deepEqual(await statusOf('other/cart-2'), { ...allReady, [condition]: 'True' })
  })

  test('whoever has the rights of the control plane writes nothing else of a Pod', options, async () => {
    await makePod('other', 'victim', '10.244.8.1')
    const asControlPlane = await ask()
    const path = '/api/v1/namespaces/other/pods/victim'
    const add = (path: string, value: unknown) => [{ op: 'add', path, value }]
    const ready = await server.must('GET', path)
    const at = rawList(rawObject(ready.status).conditions).findIndex(one => rawObject(one).type === 'Ready')
    for (const [patch, says] of [
      [add('/status/podIP', '10.0.0.1'), /nothing of a Pod's status but conditions/],
      [add('/status/podIPs', [{ ip: '10.244.8.1' }, { ip: 'fd00::1' }]), /nothing of a Pod's status but conditions/],
      [add('/status/phase', 'Failed'), /nothing of a Pod's status but conditions/],
      [add('/status/conditions/-', { type: 'mine', status: 'True' }), /no condition but lightpath.cloud\/Reachable/],
      // It has no gate.
      [add(`/status/conditions/${at}/status`, 'False'), /no condition but lightpath.cloud\/Reachable/],
      [[{ op: 'remove', path: `/status/conditions/${at}` }], /removes no condition/],
      [add('/metadata/labels', { app: 'other' }), /no metadata/],
    ] as const) {
      await assert.rejects(asControlPlane('PATCH', `${path}/status`, patch), says)
    }
    await assert.rejects(
      asControlPlane('PATCH', path, add('/metadata/labels', { app: 'other' })),
      /cannot patch resource "pods"/,
    )
  })
}
