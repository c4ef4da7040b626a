import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseAllDocuments, stringify } from 'yaml'
import { startLoad } from '../../lab/clients.ts'
import { startPod } from '../../lab/pods.ts'
import { pause, waitFor } from '../../lab/wait.ts'
import { askAt, overlayServes, type Stage } from '../stage.ts'
import { expect, type Point } from './point.ts'

const added = {
  name: 'whoami-2d',
  node: 'node2',
  addresses: ['10.244.2.14', 'fd00:244:2::14'],
  http: [8080],
  tcp: [],
  udp: [],
}
const removed = 'whoami-1a'
const newVip = '10.96.0.70'

export const edit: Point = {
  title: 'A manifest is edited, and it is in effect',
  explanation: `${added.name} joins whoami, ${removed} leaves it, and a new Service appears: measured by the requests of a pod, from the write to the file.`,
  async run(stage, show) {
    const { network, client, hostsFile } = stage
    await startPod(network, added)
    const whoami = await startLoad(network, client, {
      url: 'http://whoami.whoami.svc/',
      connections: 4,
      rate: 400,
      hostsFile,
    })
    const hello = await startLoad(network, client, {
      url: `http://${newVip}/`,
      connections: 5,
      rate: 200,
      timeoutMs: 50,
      // A connection that began in the kernel layer stays there.
      fresh: true,
    })
    await pause(1000)

    const edited = Date.now()
    editFile(stage, 'whoami.yaml', text => moveEndpoints(text))
    show.command('node1', `$EDITOR manifests/whoami.yaml   # ${added.name} in, ${removed} out`)
    await pause(1000)
    const created = Date.now()
    editFile(stage, 'hello.yaml', () => helloService)
    show.command('node1', 'cp hello.yaml manifests/        # a Service of its own')
    await waitFor('the new Service through Envoy', 60_000, async () =>
      /X-Envoy-Attempt-Count/.test(await askAt(stage, newVip)),
    )
    const served = Date.now()
    await pause(1500)
    const [seen, seenHello] = await Promise.all([whoami.stop(), hello.stop()])

    const first = seen.endpoints[added.name]?.first
    const last = seen.endpoints[removed]?.last
    const [kernelFirst, envoyFirst] = [seenHello.layers.kernel?.first, seenHello.layers.envoy?.first]
    const firstAnswer = Math.min(kernelFirst ?? Number.POSITIVE_INFINITY, envoyFirst ?? Number.POSITIVE_INFINITY)
    const after = (time: number | undefined, from: number) =>
      time === undefined ? 'never' : `${Math.max(0, time - from)} ms`
    show.table(
      ['change', 'in effect after'],
      [
        [`${added.name} gets its first request`, after(first, edited)],
        [`${removed} got its last request`, after(last, edited)],
        ['the new Service answers', after(firstAnswer, created)],
        ['and does so through Envoy', after(envoyFirst, created)],
      ],
    )
    expect(seen.ok === seen.requests, `whoami's clients saw errors: ${JSON.stringify(seen.errors)}`)
    expect(first !== undefined, `${added.name} never got a request`)
    expect(last === undefined || last < served, `${removed} still got requests`)
    expect(firstAnswer >= created, 'somebody answered for the new Service before there was one')
    expect(envoyFirst !== undefined, 'the new Service was not served through Envoy')
    await overlayServes(stage)
    return `endpoint added after ${after(first, edited)}, removed after ${after(last, edited)}, new Service after ${after(firstAnswer, created)}; no request lost`
  },
}

/** Whole or not at all, as editors and kubectl do. */
function editFile({ manifests }: Stage, name: string, change: (text: string) => string): void {
  const file = join(manifests, name)
  const draft = join(manifests, `.${name}.new`)
  writeFileSync(draft, change(name === 'whoami.yaml' ? readFileSync(file, 'utf8') : ''))
  renameSync(draft, file)
}

function moveEndpoints(text: string): string {
  const documents = parseAllDocuments(text)
  for (const document of documents) {
    if (document.get('kind') !== 'EndpointSlice') continue
    const slice = document.toJS() as { addressType: string; endpoints: { targetRef: { name: string } }[] }
    const address = added.addresses[slice.addressType === 'IPv4' ? 0 : 1]!
    const endpoints = slice.endpoints.filter(endpoint => endpoint.targetRef.name !== removed)
    document.set('endpoints', document.createNode([...endpoints, endpoint(address)]))
  }
  return documents.map(document => document.toString()).join('')
}

function endpoint(address: string) {
  return {
    addresses: [address],
    conditions: { ready: true, serving: true, terminating: false },
    nodeName: added.node,
    zone: 'eu-b',
    targetRef: { kind: 'Pod', namespace: 'whoami', name: added.name },
  }
}

const metadata = { name: 'hello', namespace: 'default' }
const helloService = [
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata,
    spec: {
      clusterIP: newVip,
      clusterIPs: [newVip],
      ipFamilies: ['IPv4'],
      ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 8080 }],
    },
  },
  {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { ...metadata, labels: { 'kubernetes.io/service-name': metadata.name } },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
    endpoints: [endpoint(added.addresses[0]!)],
  },
]
  .map(object => stringify(object))
  .join('---\n')
