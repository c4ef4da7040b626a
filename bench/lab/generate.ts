/** The objects of a cluster of any size as the Kubernetes API gives them, and as manifests for a directory source to read. */

import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Size {
  readonly services: number
  /** Endpoints of each Service, 1 to 100. */
  readonly endpoints: number
}

interface Port {
  readonly name: string
  readonly port: number
}

/** What happens to one EndpointSlice: a pod is replaced by another, one more comes, or one goes. */
export type SliceChange = 'replace' | 'add' | 'remove'

const servicesPerFile = 100
const servicesPerNamespace = 100
const podsPerNode = 100
/** Of a node; those of pods that are gone are taken again. */
const podAddresses = 250
/** At most, as Kubernetes' controller has it. */
const endpointsPerSlice = 100
/** How many port numbers the Services have among them. */
const portNumbers = 20

/** N http Services with M endpoints each, spread evenly over port numbers and nodes of 100 pods. */
export class Cluster {
  readonly size: Size
  readonly #nodes: number
  /** The pods behind each Service, by number. */
  readonly #pods: number[][]
  #nextPod: number

  constructor(size: Size) {
    this.size = size
    this.#nextPod = size.services * size.endpoints
    this.#nodes = Math.ceil(this.#nextPod / podsPerNode)
    this.#pods = Array.from({ length: size.services }, (_, service) =>
      Array.from({ length: size.endpoints }, (_, pod) => service * size.endpoints + pod),
    )
  }

  namespaces(): object[] {
    const count = Math.ceil(this.size.services / servicesPerNamespace)
    return Array.from({ length: count }, (_, number) => namespace(`bench-${number}`))
  }

  service(number: number): object {
    const port = { name: 'http', port: 8000 + (number % portNumbers) }
    return service(namespaceOf(number), nameOf(number), port, serviceAddress(number))
  }

  slice(number: number): object {
    const endpoints = this.#pods[number]!.map(pod => ({
      addresses: [podAddress(pod % this.#nodes, Math.floor(pod / this.#nodes) % podAddresses)],
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: this.#nodeOf(pod),
      zone: `zone-${pod % 3}`,
      targetRef: { kind: 'Pod', namespace: namespaceOf(number), name: `${nameOf(number)}-7d4b9c8f6d-${pod}` },
    }))
    return endpointSlice(namespaceOf(number), nameOf(number), { name: 'http', port: 8080 }, endpoints)
  }

  /** Where its port is. */
  frontend(number: number): { readonly ip: string; readonly port: number } {
    return { ip: serviceAddress(number), port: 8000 + (number % portNumbers) }
  }

  /** The id of a Service port. */
  portId(number: number): string {
    return `${namespaceOf(number)}/${nameOf(number)}/http`
  }

  change(number: number, kind: SliceChange): void {
    const pods = this.#pods[number]!
    if (kind !== 'add') pods.shift()
    if (kind !== 'remove') pods.push(this.#nextPod++)
  }

  /** How many elements the kernel layer of the node of this name (node1 and on) has of it. */
  elementsOn(nodeName: string): number {
    const { services, endpoints } = this.size
    const local = this.#pods.flat().filter(pod => this.#nodeOf(pod) === nodeName).length
    // A Service's port, its VIP and its endpoints; an endpoint here; and which addresses open node ports, in both families.
    return services * (2 + endpoints) + local + 2
  }

  #nodeOf(pod: number): string {
    return `node${(pod % this.#nodes) + 1}`
  }
}

/**
 * A cluster as files. Services and Namespaces stand in files of many objects; each EndpointSlice has a file of its own, so
 * that its change is a change of one small file.
 */
export class Manifests {
  readonly cluster: Cluster
  readonly #directory: string

  constructor(directory: string, size: Size) {
    this.cluster = new Cluster(size)
    this.#directory = directory
  }

  write(): void {
    const { services } = this.cluster.size
    mkdirSync(join(this.#directory, 'endpointslices'), { recursive: true })
    this.#writeFile('namespaces.json', list(this.cluster.namespaces()))
    for (let first = 0; first < services; first += servicesPerFile) {
      const count = Math.min(servicesPerFile, services - first)
      const items = Array.from({ length: count }, (_, offset) => this.cluster.service(first + offset))
      this.#writeFile(`services-${first}.json`, list(items))
    }
    for (let number = 0; number < services; number++) this.#writeSlice(number)
  }

  /** Rewrites the file of one EndpointSlice. Returns the id of the changed Service port. */
  change(number: number, kind: SliceChange): string {
    this.cluster.change(number, kind)
    this.#writeSlice(number)
    return this.cluster.portId(number)
  }

  #writeSlice(number: number): void {
    this.#writeFile(`endpointslices/${nameOf(number)}.json`, this.cluster.slice(number))
  }

  #writeFile(name: string, content: object): void {
    replaceFile(join(this.#directory, name), JSON.stringify(content, undefined, 2))
  }
}

/** Atomically, as editors and volumes do. */
function replaceFile(path: string, text: string): void {
  const temporary = path.replace(/[^/]+$/, '.$&')
  writeFileSync(temporary, text)
  renameSync(temporary, path)
}

export function writeObjects(path: string, objects: readonly object[]): void {
  replaceFile(path, JSON.stringify(list(objects)))
}

interface SliceEndpoint {
  readonly ip: string
  readonly port: number
  readonly terminating?: boolean
  readonly nodeName?: string
  /** Where it is, and whose clients are to use it. */
  readonly zone?: string
}

/** A namespace, in it a Service with port 80 and these settings, and its EndpointSlices; all endpoints have the same port. */
export function serviceObjects(
  name: string,
  portName: string,
  clusterIP: string,
  endpoints: readonly SliceEndpoint[],
  settings: Readonly<Record<string, string>> = {},
): readonly object[] {
  const port = { name: portName, port: endpoints[0]!.port }
  const all = endpoints.map(({ ip, zone, nodeName, terminating = false }, index) => ({
    addresses: [ip],
    ...(nodeName === undefined ? {} : { nodeName }),
    ...(zone === undefined ? {} : { zone, hints: { forZones: [{ name: zone }] } }),
    conditions: { ready: !terminating, serving: true, terminating },
    targetRef: { kind: 'Pod', namespace: 'bench', name: `${name}-${index}` },
  }))
  const ownPort = { name: portName, port: 80 }
  const annotations = Object.entries(settings).map(([key, value]) => [
    `config.lightpath.cloud/${portName}-${key}`,
    value,
  ])
  const annotated = service('bench', name, ownPort, clusterIP, Object.fromEntries(annotations))
  const slices = Array.from({ length: Math.ceil(all.length / endpointsPerSlice) }, (_, index) =>
    endpointSlice('bench', name, port, all.slice(index * endpointsPerSlice, (index + 1) * endpointsPerSlice), index),
  )
  return [namespace('bench'), annotated, ...slices]
}

function list(items: readonly object[]): object {
  return { apiVersion: 'v1', kind: 'List', items }
}

function namespace(name: string): object {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels: { 'kubernetes.io/metadata.name': name } } }
}

function service(namespace: string, name: string, port: Port, clusterIP: string, annotations = {}): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace, labels: { app: name }, annotations, creationTimestamp: '2026-01-01T00:00:00Z' },
    spec: {
      type: 'ClusterIP',
      clusterIP,
      clusterIPs: [clusterIP],
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      internalTrafficPolicy: 'Cluster',
      sessionAffinity: 'None',
      selector: { app: name },
      ports: [{ ...port, protocol: 'TCP', targetPort: port.name }],
    },
  }
}

function endpointSlice(
  namespace: string,
  serviceName: string,
  port: Port,
  endpoints: readonly object[],
  index = 0,
): object {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${serviceName}-x7k2${index}`,
      namespace,
      labels: {
        'kubernetes.io/service-name': serviceName,
        'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
      },
    },
    addressType: 'IPv4',
    ports: [{ ...port, protocol: 'TCP' }],
    endpoints,
  }
}

function namespaceOf(number: number): string {
  return `bench-${Math.floor(number / servicesPerNamespace)}`
}

function nameOf(number: number): string {
  return `service-${number}`
}

/** From 10.96.0.0/12, as kubeadm has it; 10.96.0.1 is the API server's own. */
function serviceAddress(number: number): string {
  return `10.${96 + Math.floor(number / 62_500)}.${Math.floor(number / 250) % 250}.${(number % 250) + 2}`
}

/** Each node has a /24, from 10.128.0.0 on: none that exists, so nothing connects there. */
function podAddress(node: number, pod: number): string {
  return `10.${128 + Math.floor(node / 250)}.${node % 250}.${pod + 2}`
}
