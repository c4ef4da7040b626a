/** The example manifests, as far as the lab has to know them to build the pods and names that they speak of. */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'

/** The fields read here of Nodes, Services and EndpointSlices; those that a kind does not have are absent. */
export interface Manifest {
  readonly kind: string
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly labels?: Readonly<Record<string, string>>
    readonly annotations?: Readonly<Record<string, string>>
  }
  readonly spec?: { readonly clusterIPs?: readonly string[] }
  readonly status?: { readonly addresses?: readonly { readonly type: string; readonly address: string }[] }
  readonly ports?: readonly SlicePort[]
  readonly endpoints?: readonly {
    readonly addresses: readonly string[]
    readonly nodeName: string
    readonly targetRef: { readonly name: string }
  }[]
}

interface SlicePort {
  readonly name: string
  readonly port: number
  readonly protocol: string
}

/** A pod that the EndpointSlices speak of, and what it is to listen on. */
export interface PodPlan {
  readonly name: string
  readonly node: string
  readonly addresses: readonly string[]
  readonly http: readonly number[]
  readonly tcp: readonly number[]
  readonly udp: readonly number[]
}

export function readManifests(directory: string): Manifest[] {
  const files = readdirSync(directory).filter(file => file.endsWith('.yaml'))
  return files.sort().flatMap(file => {
    const documents = parseAllDocuments(readFileSync(join(directory, file), 'utf8'))
    return documents.map(document => {
      if (document.errors[0]) throw new Error(`${file}: ${document.errors[0].message}`)
      return document.toJS() as Manifest
    })
  })
}

/** The pods behind all EndpointSlices, whether ready or not, in order of their names. */
export function podsOf(manifests: readonly Manifest[]): PodPlan[] {
  const listed = manifests.flatMap(({ endpoints = [], ports = [] }) =>
    endpoints.map(({ targetRef, nodeName, addresses }) => ({ name: targetRef.name, node: nodeName, addresses, ports })),
  )
  const pods = [...Map.groupBy(listed, pod => pod.name)].map(([name, its]) => {
    const numbers = (wanted: (port: SlicePort) => boolean) => [
      ...new Set(its.flatMap(pod => pod.ports.filter(wanted).map(({ port }) => port))),
    ]
    return {
      name,
      node: its[0]!.node,
      addresses: [...new Set(its.flatMap(pod => pod.addresses))],
      http: numbers(port => port.protocol === 'TCP' && port.name.startsWith('http')),
      tcp: numbers(port => port.protocol === 'TCP' && !port.name.startsWith('http')),
      udp: numbers(port => port.protocol === 'UDP'),
    }
  })
  return pods.sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** /etc/hosts for the pods: what the cluster's DNS would answer for each Service with a VIP. */
export function hostsOf(manifests: readonly Manifest[]): string {
  const services = manifests.filter(({ kind }) => kind === 'Service')
  const lines = services.flatMap(({ metadata: { name, namespace }, spec }) => {
    const vips = (spec?.clusterIPs ?? []).filter(ip => ip !== 'None')
    const short = `${name}.${namespace}`
    return vips.map(vip => `${vip} ${short}.svc ${short} ${short}.svc.cluster.local`)
  })
  return ['127.0.0.1 localhost', '::1 localhost', ...lines, ''].join('\n')
}
