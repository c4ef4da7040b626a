/** Frontends that tests of Envoy's resources are about. */

import type { External } from '../../plan/ports/port.ts'
import { aPortState } from '../../plan/testing.ts'
import { defaultSettings } from '../../services/settings/definitions.ts'
import { type Frontend, frontendsOf } from './frontend.ts'

export const tcp = { wants: 'envoy', protocol: 'tcp', reason: 'overlay is true' } as const
const settings = { ...defaultSettings, upstreamRequestTimeout: 5000, accessLog: 'true' } as const

export const reached: External = {
  nodePort: 30_080,
  externalIPs: [],
  loadBalancerIPs: ['192.0.2.7'],
  sourceRanges: [],
  policy: 'Local',
  endpoints: [{ ip: '10.244.1.2', port: 8080 }],
  clusterEndpoints: aPortState().endpoints,
  noLocalEndpoints: false,
  layer: aPortState().layer,
}
export const fromOutside = (external: Partial<External> = {}): Frontend => {
  return frontendsOf(aPortState({ external: { ...reached, ...external } }))[1]!
}

export const golden: Readonly<Record<string, Frontend>> = {
  'http-external': fromOutside(),
  http: aPortState(),
  'http-settings': aPortState({ settings: { ...settings, lbPolicy: 'RING_HASH', circuitBreakerDefaultMaxRetries: 7 } }),
  'http-peak-ewma': aPortState({ settings: { ...settings, lbPolicy: 'PEAK_EWMA', slowStart: 30e3 } }),
  'http-no-retries': aPortState({ settings: { ...settings, retryEnabled: false } }),
  'tcp-ipv6': aPortState({
    id: 'db/postgres/5432/IPv6',
    namespace: 'db',
    name: 'postgres',
    port: { name: '', protocol: 'TCP', port: 5432 },
    family: 'IPv6',
    vip: 'fd00::10',
    layer: tcp,
    endpoints: [{ ip: 'fd00:1::2', port: 5432 }],
  }),
  'tcp-empty': aPortState({ layer: tcp, endpoints: [] }),
}

export const withModule = { latencies: '/run/lightpath/envoy' }
