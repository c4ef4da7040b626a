import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type { KubeObject } from '../../../services/objects/objects.ts'
import { aNode, anEndpoint, aSlice } from '../../../services/testing.ts'
import { serviceEndpoints } from './serviceendpoints.ts'

const directory = mkdtempSync(join(tmpdir(), 'lightpath-endpoints-'))
const service = { namespace: 'lightpath-system', name: 'lightpath-controlplane' }
const host = 'lightpath-controlplane.lightpath-system.svc'
let files = 0

after(() => rmSync(directory, { recursive: true }))

const newFile = () => join(directory, `found-${++files}`)

function slice(ips: readonly string[], zone: string): KubeObject {
  const endpoints = ips.map(ip => anEndpoint(ip, { zone, nodeName: `on-${zone}` }))
  const ports = [{ name: 'facts', protocol: 'TCP', port: 9444 } as const]
  return aSlice(endpoints, { namespace: service.namespace, name: `of-${zone}`, service: service.name, ports })
}

/** The API server's list of the Service's slices, with one endpoint. */
function listed(ip: string): object {
  const metadata = {
    name: 'a',
    namespace: service.namespace,
    labels: { 'kubernetes.io/service-name': service.name },
  }
  const item = { metadata, addressType: 'IPv4', ports: [{ name: 'facts', port: 9444 }] }
  const items = [{ ...item, endpoints: [{ addresses: [ip], zone: 'b' }] }]
  return { kind: 'EndpointSliceList', apiVersion: 'discovery.k8s.io/v1', items }
}

function finder(answers: { readonly slices?: string; readonly zone?: string } = {}, file = newFile()) {
  const asked: string[] = []
  const find = serviceEndpoints({
    service,
    nodeName: 'node1',
    get: async path => {
      asked.push(path.split('?')[0]!.split('/').at(-1)!)
      if (answers.slices === undefined) throw new Error('the API server is away')
      if (path.includes('endpointslices')) return listed(answers.slices) as Record<string, unknown>
      const labels = { 'topology.kubernetes.io/zone': answers.zone }
      return { kind: 'NodeList', apiVersion: 'v1', items: [{ metadata: { name: 'node1', labels } }] }
    },
    file,
  })
  const addresses = async (objects: readonly KubeObject[], { isCurrent = false, hasFailed = false } = {}) =>
    (await find({ objects, isCurrent, hasFailed })).map(({ address }) => address)
  return { find, addresses, asked }
}

test('replicas in the zone of the node come first, and those that are not ready not at all', async () => {
  const { find, asked } = finder()
  const gone = {
    ...aSlice([anEndpoint('10.0.3.1', { ready: false })]),
    ...service,
    service: service.name,
  } as KubeObject
  const objects = [
    aNode('b'),
    slice(['10.0.1.1'], 'a'),
    slice(['10.0.2.1'], 'b'),
    gone,
    aSlice([anEndpoint('10.0.9.9')]),
  ]
  for (let i = 0; i < 20; i++) {
    assert.deepEqual(await find({ objects, isCurrent: false, hasFailed: false }), [
      { address: '10.0.2.1:9444', host, node: 'on-b' },
      { address: '10.0.1.1:9444', host, node: 'on-a' },
    ])
  }
  assert.deepEqual(asked, [])
})

test('agents of a zone spread over its replicas', async () => {
  const { addresses } = finder()
  const first = new Set<string>()
  for (let i = 0; i < 100; i++) first.add((await addresses([aNode('a'), slice(['10.0.1.1', '10.0.1.2'], 'a')]))[0]!)
  assert.deepEqual([...first].sort(), ['10.0.1.1:9444', '10.0.1.2:9444'])
})

test('the API server is asked where nothing is known, or what is known has failed', async () => {
  const { addresses, asked } = finder({ slices: '10.0.2.2', zone: 'b' })
  assert.deepEqual(await addresses([]), ['10.0.2.2:9444'])
  assert.deepEqual(asked, ['endpointslices', 'nodes'])
  const objects = [aNode('a'), slice(['10.0.1.1'], 'a')]
  assert.deepEqual(await addresses(objects), ['10.0.1.1:9444'])
  assert.deepEqual(await addresses(objects, { hasFailed: true }), ['10.0.2.2:9444'])
  assert.deepEqual(asked, ['endpointslices', 'nodes', 'endpointslices'])
})

test('an agent that watches the API server does not ask it for what it has seen', async () => {
  const { addresses, asked } = finder({ slices: '10.0.2.2' })
  const watching = { isCurrent: true, hasFailed: true }
  assert.deepEqual(await addresses([slice(['10.0.1.1'], 'a')], watching), ['10.0.1.1:9444'])
  await assert.rejects(addresses([], watching), /lightpath-system\/lightpath-controlplane has no ready endpoint/)
  assert.deepEqual(asked, [])
})

test('an agent that starts while the API server is away asks the replicas that it found last', async () => {
  const file = newFile()
  await assert.rejects(finder({}, file).addresses([]), /the API server is away/)
  await finder({}, file).addresses([aNode('b'), slice(['10.0.1.1'], 'a'), slice(['10.0.2.1'], 'b')])
  assert.deepEqual(await finder({}, file).find({ objects: [], isCurrent: false, hasFailed: false }), [
    { address: '10.0.2.1:9444', host, node: 'on-b' },
    { address: '10.0.1.1:9444', host, node: 'on-a' },
  ])
  writeFileSync(file, '{"replicas":[{"addr')
  await assert.rejects(finder({}, file).addresses([]), /the API server is away/)
})
