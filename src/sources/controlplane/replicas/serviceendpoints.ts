/**
 * Finds the replicas of a control plane by its Service, without DNS and without its cluster IP, which may be what this
 * agent is about to serve: by EndpointSlices that it knows already, else by asking the API server, else by what it wrote
 * down before. Replicas in the node's own zone come first.
 */

import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { hostPort } from '../../../net/address.ts'
import type { KubeObject } from '../../../services/objects/objects.ts'
import { listItems, parseObject } from '../../../services/parse/parse.ts'
import { isRawObject, type Raw, rawList, rawObject, rawText } from '../../../text/raw.ts'
import { type FindReplicas, type Replica, shuffled } from './addresses.ts'

/** The name of the port in the Service. */
const portName = 'facts'
const zoneLabel = 'topology.kubernetes.io/zone'

export interface ServiceName {
  readonly namespace: string
  readonly name: string
}

export interface ServiceEndpointsOptions {
  readonly service: ServiceName
  readonly nodeName: string
  /** Asks the API server for a path. */
  readonly get: (path: string) => Promise<Raw>
  /** Keeps what was found last, for an agent that starts while the API server is away. */
  readonly file: string
}

interface Zoned extends Replica {
  readonly zone: string
}

interface Found {
  readonly replicas: readonly Zoned[]
  /** Of this node; '' where it is not known. */
  readonly zone: string
}

export function serviceEndpoints(options: ServiceEndpointsOptions): FindReplicas {
  const { service, file } = options
  const describe = `Service ${service.namespace}/${service.name}`
  return async ({ objects, isCurrent, hasFailed }) => {
    const known = foundIn(objects, options)
    const isEnough = isCurrent || (known.replicas.length > 0 && !hasFailed)
    const found = isEnough ? known : await asked(known, options)
    if (found.replicas.length === 0) throw new Error(`${describe} has no ready endpoint with a port ${portName}`)
    write(file, found)
    const isNear = ({ zone }: Zoned) => zone === found.zone
    const [near, far] = [found.replicas.filter(isNear), found.replicas.filter(replica => !isNear(replica))]
    return [...shuffled(near), ...shuffled(far)].map(({ zone, ...replica }) => replica)
  }
}

/** What the API server says; where it does not answer, what is known. */
async function asked(known: Found, options: ServiceEndpointsOptions): Promise<Found> {
  const { service, nodeName, get, file } = options
  const slices = `/apis/discovery.k8s.io/v1/namespaces/${service.namespace}/endpointslices`
  const selector = encodeURIComponent(`kubernetes.io/service-name=${service.name}`)
  const ofNode = `fieldSelector=${encodeURIComponent(`metadata.name=${nodeName}`)}`
  const list = async (path: string) => [...listItems(await get(`${path}&resourceVersion=0`))]
  try {
    // From the API server's cache: many agents may ask at once.
    const [ofService, nodes] = await Promise.all([
      list(`${slices}?labelSelector=${selector}`),
      known.zone === '' ? list(`/api/v1/nodes?${ofNode}`) : [],
    ])
    const objects = [...ofService, ...nodes].flatMap(raw => parseObject(raw).object ?? [])
    const found = foundIn(objects, options)
    return { ...found, zone: found.zone || known.zone }
  } catch (error) {
    const before = known.replicas.length > 0 ? known : read(file)
    if (!before) throw error
    return before
  }
}

function foundIn(objects: Iterable<KubeObject>, { service, nodeName }: ServiceEndpointsOptions): Found {
  const host = `${service.name}.${service.namespace}.svc`
  const replicas = new Map<string, Zoned>()
  let own = ''
  for (const object of objects) {
    if (object.kind === 'Node' && object.name === nodeName) own = object.labels[zoneLabel] ?? ''
    if (object.kind !== 'EndpointSlice') continue
    if (object.namespace !== service.namespace || object.service !== service.name) continue
    const port = object.ports.find(({ name }) => name === portName)?.port
    if (port === undefined) continue
    for (const { ip, traits } of object.endpoints) {
      const { ready, zone = '', nodeName: node } = traits
      const address = hostPort(ip, port)
      if (ready) replicas.set(address, { address, host, node, zone })
    }
  }
  return { replicas: [...replicas.values()], zone: own }
}

function write(file: string, found: Found): void {
  try {
    writeFileSync(`${file}.new`, JSON.stringify(found), { mode: 0o600 })
    renameSync(`${file}.new`, file)
  } catch {
    // It is for a start without an API server alone.
  }
}

/** Undefined where nothing was written, or nothing that makes sense. */
function read(file: string): Found | undefined {
  try {
    const { replicas, zone } = rawObject(JSON.parse(readFileSync(file, 'utf8')))
    const found = rawList(replicas)
      .filter(isRawObject)
      .map(({ address, host, node, zone }) => ({
        ...{ address: rawText(address), host: rawText(host), zone: rawText(zone) },
        node: rawText(node) || undefined,
      }))
    return found.length === 0 ? undefined : { replicas: found, zone: rawText(zone) }
  } catch {
    return undefined
  }
}
