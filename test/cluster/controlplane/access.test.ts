/** Control plane and agent by a real API server, with the rights of deploy/ alone. */

import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { parse, parseAllDocuments } from 'yaml'
import { keeper } from '../../../src/certificates/keeper.ts'
import { kubernetesApi } from '../../../src/cluster/api.ts'
import { podUids } from '../../../src/cluster/poduids.ts'
import { setStaysIn } from '../../../src/cluster/staysin.ts'
import { factsAccess } from '../../../src/controlplane/admission.ts'
import { trustInConfigMap } from '../../../src/controlplane/bundle.ts'
import { notesOf } from '../../../src/controlplane/failures/notes.ts'
import { type ControlPlane, startControlPlane } from '../../../src/controlplane/server.ts'
import { Bearers } from '../../../src/observe/access/bearers.ts'
import { controlPlaneSource } from '../../../src/sources/controlplane/controlplane.ts'
import { serviceEndpoints } from '../../../src/sources/controlplane/replicas/serviceendpoints.ts'
import { EventRecorder } from '../../../src/sources/events.ts'
import { kubernetesSource } from '../../../src/sources/kubernetes.ts'
import type { Source } from '../../../src/sources/source.ts'
import { RecordingListener, silentLog, until } from '../../../src/sources/testing.ts'
import { ApiServerProcess, adminToken, noAdmissionPolicies, noApiServer } from '../apiserver.ts'
import { eventually } from '../nodes.ts'
import { testReachability } from './reachability.ts'

const options = { skip: noApiServer, timeout: 120_000 }
const server = new ApiServerProcess()
const directory = mkdtempSync(join(tmpdir(), 'lightpath-control-plane-'))
const deploy = new URL('../../../deploy/', import.meta.url)
const host = 'lightpath-controlplane.lightpath-system.svc'
const within = '/namespaces/lightpath-system'
const rbac = '/apis/rbac.authorization.k8s.io/v1'
const admission = '/apis/admissionregistration.k8s.io/v1'
const paths: Readonly<Record<string, string>> = {
  ServiceAccount: `/api/v1${within}/serviceaccounts`,
  Service: `/api/v1${within}/services`,
  Role: `${rbac}${within}/roles`,
  RoleBinding: `${rbac}${within}/rolebindings`,
  ClusterRole: `${rbac}/clusterroles`,
  ClusterRoleBinding: `${rbac}/clusterrolebindings`,
  ValidatingAdmissionPolicy: `${admission}/validatingadmissionpolicies`,
  ValidatingAdmissionPolicyBinding: `${admission}/validatingadmissionpolicybindings`,
  MutatingAdmissionPolicy: `${admission}/mutatingadmissionpolicies`,
  MutatingAdmissionPolicyBinding: `${admission}/mutatingadmissionpolicybindings`,
}
let controlPlane: ControlPlane
let source: Source

before(async () => {
  if (noApiServer !== undefined) return
  await server.start()
  await server.makeNamespaces({
    'lightpath-system': {},
    shop: { 'lightpath.cloud/reachability-gate': 'true' },
    other: {},
  })
  await server.must('POST', paths.ServiceAccount!, { metadata: { name: 'somebody' } })
  for (const file of [
    'node/access.yaml',
    'components/controlplane/access.yaml',
    'components/controlplane/service.yaml',
    'components/reachability/access.yaml',
    'components/reachability/guard.yaml',
    ...(noAdmissionPolicies === undefined ? ['components/reachability-gate/policy.yaml'] : []),
  ]) {
    for (const document of parseAllDocuments(readFileSync(new URL(file, deploy), 'utf8'))) {
      const object = document.toJS()
      await server.must('POST', paths[object.kind]!, object)
    }
  }
  const kubeconfig = await kubeconfigOf('lightpath-controlplane')
  const ask = kubernetesApi(kubeconfig)
  const trust = (authority: string) => trustInConfigMap(ask, authority)
  const kept = { ask, secret: 'lightpath-controlplane', names: [host], lifetimeMs: 3600e3, trust }
  controlPlane = await startControlPlane({
    address: { address: '127.0.0.1', port: 0 },
    certificates: use => keeper(kept, use),
    bearers: new Bearers((path, object) => ask('POST', path, object), factsAccess),
    times: { refusedMs: 10 },
    log: silentLog,
  })
  source = kubernetesSource({ kubeconfig, log: silentLog })
  await source.start(controlPlane.knowledge)
  await until(
    () => controlPlane.isServing,
    () => 'not everything is known',
  )
})

after(async () => {
  await source?.stop()
  await controlPlane?.stop()
  await server.stop()
  rmSync(directory, { recursive: true })
})

async function tokenOf(account: string, audiences?: readonly string[]): Promise<string> {
  const request = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { audiences } }
  const { status } = await server.must('POST', `${paths.ServiceAccount}/${account}/token`, request)
  return (status as { readonly token: string }).token
}

async function kubeconfigOf(account: string): Promise<string> {
  return server.kubeconfig(account, `token: ${await tokenOf(account)}`)
}

/** Runs an agent with a token of this account until it has everything or says why not. */
async function agentOf(account: string): Promise<RecordingListener> {
  const files = { authority: join(directory, 'ca.crt'), token: join(directory, 'token') }
  const bundle = await server.must('GET', `/api/v1${within}/configmaps/lightpath-controlplane-authority`)
  writeFileSync(files.authority, (bundle.data as Record<string, string>)['ca.crt']!)
  writeFileSync(files.token, await tokenOf(account, [factsAccess.audience]))
  const agent = controlPlaneSource({
    findReplicas: async () => [{ address: `127.0.0.1:${controlPlane.port}`, host }],
    security: files,
    nodeName: 'node1',
    direct: () => assert.fail('it goes to the API server'),
    patienceMs: 60_000,
    log: silentLog,
  })
  const listener = new RecordingListener()
  try {
    await agent.start(listener)
    await until(
      () => listener.timesSynced === 1 || listener.told().length > 0,
      () => listener.history.join(),
    )
  } finally {
    await agent.stop()
  }
  return listener
}

test('a control plane makes its certificate, reads the cluster, and serves agents', options, async () => {
  const listener = await agentOf('lightpath-node')
  assert.deepEqual(listener.told(), [])
  assert.ok(
    listener.objects.has('Service lightpath-system/lightpath-controlplane'),
    [...listener.objects.keys()].join(),
  )
  assert.deepEqual(controlPlane.readings().freshness.ageMs, 0)
})

test('whoever is no agent gets nothing', options, async () => {
  const listener = await agentOf('somebody')
  assert.match(listener.told().join(), /LP106.*:somebody may not get the nonResourceURL \/lightpath\/facts/)
  assert.equal(listener.objects.size, 0)
})

test('an agent finds the endpoints of the Service and its own zone by its rights', options, async () => {
  const { ports } = parse(readFileSync(new URL('components/controlplane/service.yaml', deploy), 'utf8')).spec
  const slice = (name: string, ip: string, zone: string) => ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, labels: { 'kubernetes.io/service-name': 'lightpath-controlplane' } },
    addressType: 'IPv4',
    ports: [{ name: ports[0].name, port: ports[0].port }],
    endpoints: [{ addresses: [ip], conditions: { ready: true }, zone }],
  })
  const slices = `/apis/discovery.k8s.io/v1${within}/endpointslices`
  for (const [ip, zone] of [
    ['10.0.1.1', 'a'],
    ['10.0.2.1', 'b'],
  ] as const) {
    await server.must('POST', slices, slice(`of-${zone}`, ip, zone))
  }
  const labels = { 'topology.kubernetes.io/zone': 'b' }
  await server.must('POST', '/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node1', labels } })
  const ask = kubernetesApi(await kubeconfigOf('lightpath-node'))
  const find = serviceEndpoints({
    service: { namespace: 'lightpath-system', name: 'lightpath-controlplane' },
    nodeName: 'node1',
    get: path => ask('GET', path),
    file: join(directory, 'found'),
  })
  // The server's cache may be behind.
  await eventually(30, async () => {
    const found = await find({ objects: [], isCurrent: false, hasFailed: true })
    assert.deepEqual(
      found.map(({ address }) => address),
      ['10.0.2.1:9444', '10.0.1.1:9444'],
    )
  })
})

test('a control plane tells on a Pod what it has excluded, so that kubectl describe shows it', options, async () => {
  const containers = [{ name: 'server', image: 'server' }]
  const spec = { containers, nodeName: 'node1', serviceAccountName: 'somebody' }
  const pods = '/api/v1/namespaces/lightpath-system/pods'
  const pod = await server.must('POST', pods, { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'cart-1' }, spec })
  const kubeconfig = await kubeconfigOf('lightpath-controlplane')
  const uidOf = podUids(kubernetesApi(kubeconfig))
  const events = new EventRecorder({ kubeconfig, host: 'lightpath-controlplane-1', uidOf, log: silentLog })
  const excluded = { of: 'endpoint', name: '10.244.1.7:8080', failure: 'timed out' } as const
  const exclusion = { ...excluded, since: 0, by: ['node1', 'node2'], isSilent: false }
  for (const note of notesOf([exclusion], [], () => 'lightpath-system/cart-1')) events.record(note)
  const { uid } = pod.metadata as { readonly uid: string }
  await eventually(30, async () => {
    const found = await server.must('GET', `/api/v1${within}/events?fieldSelector=involvedObject.uid=${uid}`)
    const [event] = found.items as readonly Record<string, unknown>[]
    assert.deepEqual([event?.reason, event?.type], ['Excluded', 'Warning'])
  })
  await events.stop()
})

test('a Pod or Node is labelled so that it is never excluded, and the label is taken back', options, async () => {
  const ask = kubernetesApi(server.kubeconfig('admin', `token: ${adminToken}`))
  const paths = {
    'lightpath-system/cart-1': '/api/v1/namespaces/lightpath-system/pods/cart-1',
    node1: '/api/v1/nodes/node1',
  }
  for (const [name, path] of Object.entries(paths)) {
    const label = async () => {
      const { metadata } = await server.must('GET', path)
      return (metadata as { readonly labels?: Record<string, string> }).labels?.['lightpath.cloud/exclusion']
    }
    for (const stays of [true, true, false, false]) {
      assert.equal((await setStaysIn(ask, name, stays)).name, name)
      assert.equal(await label(), stays ? 'disabled' : undefined)
    }
  }
  await assert.rejects(setStaysIn(ask, '10.244.9.9:80', true), /no Pod has the address 10.244.9.9/)
})

testReachability({
  server,
  ready: () => controlPlane.knowledge.ready,
  ask: async () => kubernetesApi(await kubeconfigOf('lightpath-controlplane')),
  options,
})
