/**
 * Divides a Service port that Envoy serves into frontends: its VIP, and its external addresses together. Each has a
 * cluster, routes and listeners of its own, as if it were another Service port: another policy chooses the endpoints
 * for external clients, and a change of one frontend touches no connection of the other.
 */

import { hostPort } from '../../net/address.ts'
import { type ExternalDestination, externalDestinationsOf } from '../../plan/ports/externaldestinations.ts'
import type { Endpoint, PortState } from '../../plan/ports/port.ts'

/** A Service port by one of its addresses, or by all external ones. */
export interface Frontend extends PortState {
  /** Its external addresses; undefined for the frontend of the VIP. */
  readonly externalAddresses?: readonly ExternalDestination[]
  /** The kernel layer has endpoints of it that Envoy may not connect to. */
  readonly isCut?: boolean
  readonly observed?: Observed | undefined
}

/** What this node has observed of a frontend's endpoints. */
export interface Observed {
  /** These, as `hostPort` writes them, get nothing for now; Envoy uses them where too few are left. */
  readonly ejected?: ReadonlySet<string>
  /** They close connections while requests are on them: requests that reuse connections by default get their own. */
  readonly endConnections?: boolean
  /** Whether they let idle connections live is being found out. */
  readonly isWatched?: boolean
  /** These, as `hostPort` writes them, have let idle connections live. */
  readonly lasting?: ReadonlySet<string> | undefined
}

/** The frontends of a port: that of its VIP and, where it has external addresses, that of these. */
export function frontendsOf(state: PortState): readonly Frontend[] {
  const { id, external } = state
  const externalAddresses = externalDestinationsOf(state)
  const byVip = withoutBarred(state)
  if (!external || externalAddresses.length === 0) return [byVip]
  const { layer, endpoints, noLocalEndpoints } = external
  return [
    byVip,
    withoutBarred({
      ...state,
      id: externalId(id),
      layer,
      endpoints,
      spillOver: undefined,
      noLocalEndpoints,
      externalAddresses,
    }),
  ]
}

/** A demoted port still has connections in Envoy, which follow its endpoints. */
function withoutBarred<T extends { readonly endpoints: readonly Endpoint[] }>(frontend: T): T {
  const isAdmitted = ({ barred }: Endpoint) => barred === undefined
  return frontend.endpoints.every(isAdmitted)
    ? frontend
    : { ...frontend, endpoints: frontend.endpoints.filter(isAdmitted), isCut: true }
}

/** All endpoints that Envoy has. */
export function envoyEndpointsOf({ endpoints, spillOver = [] }: Frontend): readonly Endpoint[] {
  return spillOver.length === 0 ? endpoints : endpoints.concat(spillOver)
}

const suffix = '/external'

/** The id of the external frontend: `namespace/name/port/external`. */
export function externalId(portId: string): string {
  return `${portId}${suffix}`
}

/** The id of a frontend's port. A port may be called external, too. */
export function portIdOf(id: string): string {
  return id.endsWith(suffix) && id.split('/').length > 3 ? id.slice(0, -suffix.length) : id
}

/** The addresses of the frontend's listeners. */
export function addressesOf({
  externalAddresses,
  vip,
  port,
}: Frontend): readonly Pick<ExternalDestination, 'ip' | 'port'>[] {
  return externalAddresses ?? [{ ip: vip, port: port.port }]
}

/**
 * The name of its cluster, endpoints and routes in Envoy: its address where it has one. So a shared listener finds them
 * by the address that a client connected to, and when another Service gets the VIP, requests on open connections to it
 * go over to that Service's endpoints without a moment in between.
 */
export function resourceNameOf({ id, externalAddresses, vip, port }: Frontend): string {
  return externalAddresses === undefined ? hostPort(vip, port.port) : id
}

/**
 * Whether endpoints may see the client's address as their peer. For external clients only policy Local allows it: an
 * endpoint on another node would answer past this one.
 */
export function mayShowClient({ externalAddresses, external }: Frontend): boolean {
  return externalAddresses === undefined || external?.policy === 'Local'
}
