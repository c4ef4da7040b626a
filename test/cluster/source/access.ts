/** What is not permitted, or wrong. */

import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { waitFor } from '../../../src/lab/wait.ts'
import { kubernetesSource } from '../../../src/sources/kubernetes.ts'
import { RecordingListener, silentLog, until } from '../../../src/sources/testing.ts'
import { adminToken, guestToken } from '../apiserver.ts'
import { follow, options, server, slice, slices } from './lab.ts'

test(
  'missing rights are told with verb and resource, and are over when they are granted; ServiceCIDRs can be done without',
  options,
  async t => {
    const { listener } = await follow(t, { credentials: `token: ${guestToken}`, synced: false })
    await until(
      () => listener.told().length === 7,
      () => listener.told().join('\n'),
    )
    const told = listener.told().join('\n')
    assert.match(
      told,
      /LP105 .*403.*"guest" cannot watch resource "services".*grant list and watch on services in a Cluster/,
    )
    assert.match(
      told,
      /cannot watch resource "endpointslices".*grant list and watch on endpointslices of discovery.k8s.io/,
    )
    const metadata = { name: 'guests-watch' }
    const rbac = '/apis/rbac.authorization.k8s.io/v1'
    const rules = [
      { apiGroups: [''], resources: ['services', 'namespaces', 'nodes', 'pods'], verbs: ['list', 'watch'] },
      { apiGroups: ['networking.k8s.io'], resources: ['networkpolicies'], verbs: ['list', 'watch'] },
      { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] },
    ]
    const apiVersion = 'rbac.authorization.k8s.io/v1'
    await server.must('POST', `${rbac}/clusterroles`, { apiVersion, kind: 'ClusterRole', metadata, rules })
    await server.must('POST', `${rbac}/clusterrolebindings`, {
      ...{ apiVersion, kind: 'ClusterRoleBinding', metadata },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'guests-watch' },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'guest' }],
    })
    await until(
      () => listener.timesSynced === 1,
      () => listener.told().join('\n'),
      60_000,
    )
    assert.match(listener.told().join('\n'), /^LP105 [^\n]*servicecidrs[^\n]*$/)
    rules.push({ apiGroups: ['networking.k8s.io'], resources: ['servicecidrs'], verbs: ['list', 'watch'] })
    await server.must('PUT', `${rbac}/clusterroles/guests-watch`, { apiVersion, kind: 'ClusterRole', metadata, rules })
    await until(
      () => listener.told().length === 0,
      () => listener.told().join('\n'),
      60_000,
    )
  },
)

test('a token file is read again when its token is refused', options, async t => {
  writeFileSync(join(server.directory, 'token'), 'expired')
  const { listener } = await follow(t, { credentials: 'tokenFile: token', synced: false })
  await until(
    () => listener.told().length > 0,
    () => 'no trouble told',
  )
  assert.match(listener.told()[0]!, /LP105 .*credentials refused \(401\).*renew token or certificate/)
  writeFileSync(join(server.directory, 'token'), adminToken)
  await until(
    () => listener.timesSynced === 1,
    () => listener.told().join('\n'),
    60_000,
  )
  assert.deepEqual(listener.told(), [])
})

test('a kubeconfig that is not there is told, and used when it comes', options, async t => {
  const kubeconfig = join(server.directory, 'late.kubeconfig')
  const source = kubernetesSource({ kubeconfig, nodeName: 'node1', log: silentLog })
  const listener = new RecordingListener()
  t.after(() => source.stop())
  await source.start(listener)
  await until(
    () => listener.told().length > 0,
    () => 'no trouble told',
  )
  assert.match(listener.told()[0]!, /LP105 Kubernetes API: .*ENOENT.*late\.kubeconfig/)
  server.kubeconfig('late', `token: ${adminToken}`)
  await until(
    () => listener.timesSynced === 1,
    () => listener.told().join('\n'),
    60_000,
  )
})

test('an object of the API that is wrong for us is told under its name until it is right', options, async t => {
  const { listener } = await follow(t)
  const ports = [
    { name: 'http', port: 8080 },
    { name: 'zero', port: 0 },
  ]
  await server.must('POST', slices, { ...slice('wrong', '10.1.0.1'), ports })
  await until(
    () => listener.told().length > 0,
    () => 'no problem told',
  )
  assert.deepEqual([...listener.troubles.keys()], ['kubernetes EndpointSlice default/wrong'])
  assert.match(listener.told()[0]!, /LP221 EndpointSlice default\/wrong: ports\[1\]\.port 0 is no port/)
  await server.must('PATCH', `${slices}/wrong`, { ports: ports.slice(0, 1) })
  await until(
    () => listener.told().length === 0,
    () => listener.told().join('\n'),
  )
})

test(
  'policies of a network plugin are told where the API has them, and where they may not be read one stands for all',
  options,
  async t => {
    const schema = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true }
    const names = { kind: 'CiliumNetworkPolicy', plural: 'ciliumnetworkpolicies', singular: 'ciliumnetworkpolicy' }
    await server.must('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: 'ciliumnetworkpolicies.cilium.io' },
      spec: {
        group: 'cilium.io',
        scope: 'Namespaced',
        names,
        versions: [{ name: 'v2', served: true, storage: true, schema: { openAPIV3Schema: schema } }],
      },
    })
    const apiVersion = 'cilium.io/v2'
    const policy = { apiVersion, kind: 'CiliumNetworkPolicy', metadata: { name: 'closed' }, spec: { ingress: [{}] } }
    const path = '/apis/cilium.io/v2/namespaces/default/ciliumnetworkpolicies'
    await waitFor('the API of the plugin', 20_000, () => server.must('POST', path, policy).catch(() => undefined))
    const kind = 'CiliumNetworkPolicy.cilium.io'
    const told = ({ objects }: RecordingListener) => [...objects.values()].filter(object => object.kind === kind)
    const { listener } = await follow(t)
    assert.deepEqual(told(listener), [{ kind, namespace: 'default', name: 'closed', restricts: ['ingress'] }])

    const guest = await follow(t, { credentials: `token: ${guestToken}` })
    assert.deepEqual(told(guest.listener), [
      { kind, namespace: '', name: '(unreadable)', restricts: ['ingress', 'egress'] },
    ])
    assert.match(guest.listener.told().join(), /grant list and watch on ciliumnetworkpolicies of cilium\.io/)
  },
)
