/**
 * Makes Envoy's listeners, where connections arrive for Service ports. Most http ports share one for each family; it is
 * bound to a port of its own, where the kernel redirects their connections. Listeners of single Service ports are not
 * bound: connections come from the redirect listener (redirect.ts), by their original destination.
 */

import type { MessageInitShape } from '@bufbuild/protobuf'
import { hostPort, type IpFamily } from '../../net/address.ts'
import { sharedPortOf } from '../../net/redirectports.ts'
import { defaultFirstBytesTimeout } from '../../services/settings/definitions.ts'
import type { Settings } from '../../services/settings/settings.ts'
import { socketAddress } from '../address.ts'
import type { FilterSchema } from '../api/envoy/config/listener/v3/listener_components_pb.js'
import { ListenerSchema } from '../api/envoy/config/listener/v3/listener_pb.js'
import { OriginalSrcSchema } from '../api/envoy/extensions/filters/listener/original_src/v3/original_src_pb.js'
import { byDiscovery, filterResource } from '../discovery.ts'
import { any, encode, resource } from '../encoding.ts'
import { detection, httpTakes } from '../protocols/detection.ts'
import { otherThanHttp, otherThanHttpByAddress } from '../protocols/misnamed.ts'
import type { SharedProtocol } from '../protocols/protocol.ts'
import { protocolOf } from '../protocols/protocols.ts'
import { backing, type Resource, type ResourceRef, refOf, typeUrls } from '../resource.ts'
import type { BalancingNode } from './cluster/loadbalancing.ts'
import { addressesOf, type Frontend, mayShowClient, resourceNameOf } from './frontend.ts'
import { redirected } from './redirect.ts'
import { type ListenerStats, listenerStats, sharedListenerStats } from './stats.ts'

/** The properties of a node on which everything published to its Envoys depends, beside Service ports. */
export interface NodeOptions extends BalancingNode {
  /**
   * SO_MARK of connections from the client's address, where the node has them: that option replaces the one of the
   * bootstrap. Undefined where endpoints see the node's address.
   */
  readonly clientMark?: number
  /** The port of the redirect listener; the shared listener has the next one. Default 1666. */
  readonly redirectPort?: number
  /** Whether its Envoys have the module (program/module.ts). Default false. */
  readonly hasModule?: boolean
  /** Milliseconds that clients may be silent, where a port's settings do not say. */
  readonly firstBytesTimeout?: number
}

/**
 * How the Service port shares a listener with the others of its family. One of its own takes Envoy three times as long,
 * and 50 kB (docs/architecture.md). Undefined for one that does not share.
 */
export function sharedProtocolOf(frontend: Frontend): SharedProtocol | undefined {
  return frontend.externalAddresses === undefined ? protocolOf(frontend).shared : undefined
}

/** Serves requests on the shared listeners. */
const sharedFilter = { typeUrl: typeUrls.filter, name: 'shared/http' } as const

/**
 * Has Envoy get scopes and routes before it takes connections: the shared listeners, which are bound, come when it has
 * everything else. This one has the same filter, is bound nowhere, and gets no connection.
 */
export const scopesHolder = { typeUrl: typeUrls.listener, name: 'scopes' } as const

/** The listener that Service ports of the family share. */
export function sharedListener(family: IpFamily): ResourceRef {
  return { typeUrl: typeUrls.listener, name: `shared-${family}` }
}

/** What the Service port shares with others. */
export function sharedRefs(frontend: Frontend): readonly ResourceRef[] {
  return sharedProtocolOf(frontend) ? [sharedFilter, scopesHolder, sharedListener(frontend.family)] : []
}

/** Makes what the Service port shares with others, whether it has a listener of its own beside it or not. */
export function sharedResources(frontend: Frontend, options: NodeOptions): readonly Resource[] {
  const shared = sharedProtocolOf(frontend)
  if (!shared) return []
  const { redirectPort = 1666 } = options
  const port = sharedPortOf(redirectPort)
  const filters = () => shared.networkFilters(options)
  const served = { chain: 'common', stats: sharedListenerStats, first: () => byDiscovery(sharedFilter.name, filters()) }
  const holder = listener(
    scopesHolder.name,
    { address: socketAddress('127.0.0.1', port), bindToPort: false },
    served,
    {},
  )
  const made = listener(
    sharedListener(frontend.family).name,
    redirected(frontend.family, port),
    { ...served, others: () => otherThanHttpByAddress(options) },
    options,
    [scopesHolder],
  )
  const waiting = [holder, made].map(resource => ({ ...resource, waitsFor: [sharedFilter] }))
  return [filterResource(sharedFilter.name, filters, [scopesHolder]), ...waiting]
}

/** The scope of the Service port on the shared listener: named by address and port, as its routes. */
export function scopeResource(frontend: Frontend): Resource | undefined {
  const shared = sharedProtocolOf(frontend)
  if (!shared) return undefined
  const address = resourceNameOf(frontend)
  const requires = [...backing(address), sharedFilter, scopesHolder]
  return resource(typeUrls.scope, address, () => shared.scope(address), requires)
}

/** The settings of a Service port's own listeners and their filters: the others change in cluster and route. */
export function listenerSettings({
  idleTimeout,
  accessLog,
  halfClose,
  firstBytesTimeout,
}: Settings): Partial<Settings> {
  return { idleTimeout, accessLog, halfClose, firstBytesTimeout }
}

/**
 * Makes the Service port's own listeners: named by address and port, since Envoy rejects two listeners of one address;
 * that of a node port is for any address. The filters that serve their connections are resources of their own.
 */
export function listenerResources(frontend: Frontend, options: NodeOptions): readonly Resource[] {
  const { id, settings } = frontend
  if (!hasOwnListeners(frontend)) return []
  const protocol = protocolOf(frontend)
  const name = resourceNameOf(frontend)
  const node = {
    ...options,
    ...(!mayShowClient(frontend) && { clientMark: undefined }),
    firstBytesTimeout: settings.firstBytesTimeout ?? options.firstBytesTimeout,
  }
  const port = { name, settings, node: options }
  const named = (chain: string, filters: NetworkFilters) => ({ name: `${name}/${chain}`, filters })
  const served = () => protocol.networkFilters(port)
  const chains = protocol.isDetected
    ? [named(httpChain, served), named('tcp', () => otherThanHttp(name, settings, node))]
    : [named('tcp', served)]
  const [first, others] = chains.map(
    ({ name, filters }) =>
      () =>
        byDiscovery(name, filters()),
  )
  const listeners = addressesOf(frontend).map(({ ip, port }) =>
    listener(
      hostPort(ip, port),
      { address: socketAddress(ip, port), bindToPort: false },
      { chain: id, stats: listenerStats(ip, port), first: first!, others },
      node,
      backing(name),
    ),
  )
  const askedForBy = listeners.map(refOf)
  const resources = chains.map(({ name, filters }) => filterResource(name, filters, askedForBy))
  const waitsFor = resources.map(refOf)
  return [...resources, ...listeners.map(resource => ({ ...resource, waitsFor }))]
}

/** Whether a Service port has the same listeners on both nodes. */
export function haveSameListeners(a: NodeOptions, b: NodeOptions): boolean {
  return (
    a.clientMark === b.clientMark &&
    a.redirectPort === b.redirectPort &&
    a.hasModule === b.hasModule &&
    a.latencies === b.latencies &&
    a.firstBytesTimeout === b.firstBytesTimeout
  )
}

const httpChain = 'http'

/** Beside its shared listener, or in place of it. */
export function hasOwnListeners(frontend: Frontend): boolean {
  return !sharedProtocolOf(frontend)?.fits(frontend.settings)
}

/** What asks for the routes of the Service port: its own filter for HTTP, and its scope on the shared listener. */
export function routeUsers(frontend: Frontend): readonly ResourceRef[] {
  const name = resourceNameOf(frontend)
  return [
    ...(hasOwnListeners(frontend) ? [{ typeUrl: typeUrls.filter, name: `${name}/${httpChain}` }] : []),
    ...(sharedProtocolOf(frontend) ? [{ typeUrl: typeUrls.scope, name }] : []),
  ]
}

type NetworkFilters = () => readonly MessageInitShape<typeof FilterSchema>[]

interface Served {
  /** The name of the first filter chain. */
  readonly chain: string
  readonly stats: ListenerStats
  readonly first: NetworkFilters
  /** The chain for connections that do not begin as HTTP; without it `first` serves all. */
  readonly others?: NetworkFilters
}

/** The address of a listener, and how connections come there. */
interface Arrival extends Partial<ReturnType<typeof redirected>> {
  readonly bindToPort?: boolean
}

function listener(
  name: string,
  { listenerFilters = [], ...arrival }: Arrival,
  { chain, stats, first, others }: Served,
  { clientMark, hasModule = false, firstBytesTimeout = defaultFirstBytesTimeout }: NodeOptions,
  requires: readonly ResourceRef[] = [],
): Resource {
  const detected = others && detection(hasModule, firstBytesTimeout)
  const bytes = () =>
    encode(ListenerSchema, {
      name,
      ...arrival,
      ...stats,
      listenerFilters: [
        ...listenerFilters,
        ...(clientMark === undefined ? [] : [originalSource(clientMark)]),
        ...(detected ? [detected.filter] : []),
      ],
      ...detected?.timeout,
      filterChains: [{ name: chain, filters: [...first()] }],
      filterChainMatcher: others && httpTakes(chain),
      defaultFilterChain: others && { name: `${chain}/tcp`, filters: [...others()] },
    })
  return resource(typeUrls.listener, name, bytes, requires)
}

/** https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/listeners/listener_filters/original_src_filter */
function originalSource(mark: number) {
  return {
    name: 'envoy.filters.listener.original_src',
    configType: { case: 'typedConfig', value: any(OriginalSrcSchema, { mark }) },
  } as const
}
