/**
 * Passes upgrades to any protocol (RFC 9110 section 7.8). Envoy lets through only configured names, and answers 403 to
 * others. So every upgrade is called websocket as it comes in, and gets its own name back as it goes out.
 * https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/http/upgrades
 */

import type { MessageInitShape } from '@bufbuild/protobuf'
import { HeaderValueOption_HeaderAppendAction as Append } from '../api/envoy/config/core/v3/base_pb.js'
import type { HttpConnectionManager_UpgradeConfigSchema } from '../api/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.js'
import { type EarlyHeader, set } from './earlyheaders.ts'

/** Carries the name from one side to the other; a client's own header of this name is dropped. */
export const upgradeNameCarrier = 'x-lightpath-upgrade'

/** Does the same for chunks, and for whether there is a body. */
export const framingCarrier = 'x-lightpath-framing'
export const bodyCarrier = 'x-lightpath-body'

/**
 * A body beside an offer to upgrade. Envoy passes chunks on as they are, without the header that says what they are:
 * the endpoint would take them for another request. And beside an offer of websocket, whose handshake has no body, it
 * keeps the body until the endpoint has agreed, and passes on no body of another answer. It compares the name with the
 * space behind it, which is no part of the value to whoever reads the header (RFC 9110 section 5.5).
 */
export const bodyBesideUpgrade = {
  headers: [upgradeNameCarrier, bodyCarrier].map(name => ({
    name,
    headerMatchSpecifier: { case: 'presentMatch', value: true } as const,
  })),
  restore: [
    { header: { key: 'transfer-encoding', value: `%REQ(${framingCarrier})%` } },
    {
      header: { key: upgradeNameCarrier, value: `%REQ(${upgradeNameCarrier})% ` },
      appendAction: Append.OVERWRITE_IF_EXISTS,
    },
  ],
}

/** CONNECT counts as an upgrade; it is passed on as it is, not answered. */
export const upgradeConfigs: MessageInitShape<typeof HttpConnectionManager_UpgradeConfigSchema>[] = [
  { upgradeType: 'websocket' },
  { upgradeType: 'CONNECT' },
]

/** Before Envoy decides about an upgrade. A forged carrier without an upgrade is dropped with all carriers. */
export const hideUpgradeName: readonly EarlyHeader[] = [
  set(framingCarrier, '%REQ(transfer-encoding)%'),
  set(bodyCarrier, '%REQ(transfer-encoding)%%REQ(content-length)%'),
  set(upgradeNameCarrier, '%REQ(upgrade)%'),
  set('upgrade', 'websocket', Append.OVERWRITE_IF_EXISTS),
]

/** For the virtual host. Its headers are set before the route configuration removes the carrier. */
export const restoreUpgradeName = [
  { header: { key: 'upgrade', value: `%REQ(${upgradeNameCarrier})%` }, appendAction: Append.OVERWRITE_IF_EXISTS },
]
