/** Traffic for tests. */

import type { PortTraffic } from './traffic.ts'

export const aPortTraffic: PortTraffic = {
  namespace: 'shop',
  service: 'web',
  port: 'http',
  layer: 'envoy',
  requestsPerSecond: 120,
  errorsPerSecond: 0,
  retriesPerSecond: 0.5,
  ejectionsPerSecond: 0,
  connectionsToEndpointsPerSecond: 1,
  ejectedEndpoints: 1,
  activeRequests: 2,
  connections: 3,
  pinnedConnections: 0,
  latency: { p50: 0.0012, p99: 0.25, perSecond: {} },
  endpoints: [
    { address: '10.244.1.1:80', requestsPerSecond: 90, pinnedConnections: 0 },
    { address: '10.244.1.2:80', requestsPerSecond: 30, pinnedConnections: 0 },
  ],
}
