/** What a person would write by hand for one Service, to compare with what Lightpath makes. */

import type { Address } from './node.ts'

/** Packet mark bit, routing table and ports of the static Envoy: others than Lightpath's, on the same node. */
const own = { mark: '0x4000', table: 1766, redirectPort: 1766, adminPort: 15001 }

const http = (routes: object) => ({
  name: 'envoy.filters.network.http_connection_manager',
  typed_config: {
    '@type': 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
    stat_prefix: 'http',
    http_filters: [
      {
        name: 'envoy.filters.http.router',
        typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
      },
    ],
    route_config: { virtual_hosts: [{ name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, ...routes }] }] },
  },
})

const socketAddress = ({ ip, port }: Address) => ({ socket_address: { address: ip, port_value: port } })

/** An Envoy that balances one VIP, reached by TPROXY as Lightpath's. */
export function staticEnvoy(vip: Address, endpoints: readonly Address[]): string {
  const lbEndpoints = endpoints.map(endpoint => ({ endpoint: { address: socketAddress(endpoint) } }))
  return JSON.stringify({
    admin: { address: socketAddress({ ip: '127.0.0.1', port: own.adminPort }) },
    static_resources: {
      clusters: [
        {
          name: 'service',
          type: 'STATIC',
          connect_timeout: '5s',
          lb_policy: 'LEAST_REQUEST',
          load_assignment: { cluster_name: 'service', endpoints: [{ lb_endpoints: lbEndpoints }] },
        },
      ],
      listeners: [
        {
          name: 'redirect',
          address: socketAddress({ ip: '0.0.0.0', port: own.redirectPort }),
          transparent: true,
          use_original_dst: true,
          listener_filters: [
            {
              name: 'envoy.filters.listener.original_dst',
              typed_config: {
                '@type': 'type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst',
              },
            },
          ],
          filter_chains: [{ filters: [http({ direct_response: { status: 404 } })] }],
        },
        {
          name: 'service',
          address: socketAddress(vip),
          bind_to_port: false,
          filter_chains: [{ filters: [http({ route: { cluster: 'service' } })] }],
        },
      ],
    },
  })
}

/** An Envoy that answers every request itself. */
export function server(port: number): string {
  const answer = { direct_response: { status: 200, body: { inline_string: '.'.repeat(1024) } } }
  return JSON.stringify({
    static_resources: {
      listeners: [{ address: socketAddress({ ip: '0.0.0.0', port }), filter_chains: [{ filters: [http(answer)] }] }],
    },
  })
}

/** Takes new connections to the VIP to the static Envoy. */
export function steering(vip: Address): string {
  const { mark, redirectPort } = own
  return `table ip handwritten {
  chain steer {
    type filter hook prerouting priority mangle; policy accept;
    ct direction original ct state != new ct mark & ${mark} == ${mark} meta mark set meta mark | ${mark} accept
    ct state new ip daddr ${vip.ip} tcp dport ${vip.port} tproxy to :${redirectPort} meta mark set ${mark} ct mark set ${mark} accept
  }
}
`
}

/** `ip -batch` lines that deliver redirected packets to this node. */
export function routing(): string {
  const { mark, table } = own
  return `rule add fwmark ${mark}/${mark} lookup ${table}\nroute add local default dev lo table ${table}\n`
}

/** A DNAT rule that takes one of two endpoints at random. */
export function dnat(vip: Address, endpoints: readonly Address[]): string {
  const slots = endpoints.map(({ ip, port }, slot) => `${slot} : ${ip} . ${port}`).join(', ')
  return `table ip handwritten {
  chain translate {
    type nat hook prerouting priority dstnat; policy accept;
    ip daddr ${vip.ip} tcp dport ${vip.port} dnat ip to numgen random mod ${endpoints.length} map { ${slots} }
  }
}
`
}
