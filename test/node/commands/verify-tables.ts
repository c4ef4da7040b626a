/** Service ports, and tables as kube-proxy has them, that verify reads. */

import { belowFromOutside, portState } from '../../../src/kernel/testing/states.ts'
import type { External, PortState } from '../../../src/plan/ports/port.ts'

/** A port with endpoints on this node and elsewhere, by all ways from outside. */
function outside(id: string, vip: string, address: string, policy: External['policy']): PortState {
  const endpoints = ['10.1.0.1:80@node1', '10.1.0.2:80@node2']
  const state = portState(id, vip, endpoints)
  return {
    ...state,
    external: {
      nodePort: policy === 'Local' ? 30_080 : undefined,
      externalIPs: [address],
      loadBalancerIPs: [`${address}0`],
      sourceRanges: ['203.0.113.0/24', '198.51.100.7/32'],
      policy,
      endpoints: policy === 'Local' ? state.endpoints.slice(0, 1) : state.endpoints,
      clusterEndpoints: state.endpoints,
      noLocalEndpoints: false,
      layer: belowFromOutside,
    },
  }
}

export const states: readonly PortState[] = [
  portState('a/plain/http', '10.0.0.1', ['10.1.0.1:80@node1', '10.1.0.2:81@node2']),
  portState('a/udp/http', '10.0.0.2', ['10.1.0.1:53'], { port: { name: 'http', protocol: 'UDP', port: 53 } }),
  portState('a/sticky/http', '10.0.0.3', ['10.1.0.1:80@node1', '10.1.0.2:80@node2'], { affinitySeconds: 10_800 }),
  portState('a/elsewhere/http', '10.0.0.4', [], { noLocalEndpoints: true }),
  portState('a/six/http', 'fd00::1', ['fd01::1 80', 'fd01::2 80'], { affinitySeconds: 90 }),
  portState('a/none/http', 'fd00::2', []),
  outside('a/cluster/http', '10.0.0.5', '192.0.2.1', 'Cluster'),
  outside('a/local/http', '10.0.0.6', '192.0.2.2', 'Local'),
]

export const endpoint = 'endpoint-IJKLMNOP-shop/web/tcp/__10.1.0.1/8080'
const affinity = '@affinity-IJKLMNOP-shop/web/tcp/__10.1.0.1/8080'
export const sticky = {
  service: `ip saddr ${affinity} goto ${endpoint}\n numgen random mod 1 vmap { 0 : goto ${endpoint} }`,
  endpoint: `update ${affinity} { ip saddr }\n meta l4proto 6 dnat to 10.1.0.1:8080`,
}
export const many = 'dnat ip to numgen random mod 2 map { 0 : 10.1.0.2 . 80, 1 : 10.1.0.1 . 80 }'

/** Rules in the chains of one Service port. */
export interface PortRules {
  readonly service?: string
  readonly endpoint?: string
  readonly external?: string
}

/** The parts of a table of kube-proxy's that lead to one Service port. */
export function tableOfOnePort({ service = '', endpoint = '', external = '' }: PortRules): string {
  return `table ip kube-proxy {
    map service-ips {
      type ipv4_addr . inet_proto . inet_service : verdict
      elements = { 10.96.0.1 . 6 . 80 : goto service-ABCDEFGH-shop/web/tcp/,
                   192.0.2.1 . tcp . 80 : goto external-ABCDEFGH-shop/web/tcp/ }
    }
    set affinity-IJKLMNOP-shop/web/tcp/__10.1.0.1/8080 {
      type ipv4_addr
      flags dynamic,timeout
      timeout 1d2h3m4s
      elements = { 10.1.0.9 timeout 1d2h3m4s expires 3h }
    }
    chain service-ABCDEFGH-shop/web/tcp/ {
      comment "of the Service"
      ${service}
    }
    chain endpoint-IJKLMNOP-shop/web/tcp/__10.1.0.1/8080 {
      ${endpoint}
    }
    chain external-ABCDEFGH-shop/web/tcp/ {
      ${external}
    }
  }`
}

/** Where a kube-proxy's rules begin. */
export function entrances(notOfPods = 'ip saddr != 10.244.0.0/16', serviceRanges = '10.96.0.0/16'): string {
  const checks = 'ct state new jump service-endpoints-check\n ct state new jump cluster-ips-check'
  const map = 'type ipv4_addr . inet_proto . inet_service : verdict'
  const key = 'ip daddr . meta l4proto . th dport'
  return `table ip kube-proxy {
    set cluster-ips { type ipv4_addr; elements = { 10.96.0.1 } }
    set hairpin-connections { type ipv4_addr . ipv4_addr . inet_proto . inet_service; }
    map service-ips { ${map}; }
    map firewall-ips { ${map}; }
    map no-endpoint-services { ${map}; }
    map service-nodeports { type inet_proto . inet_service : verdict; }
    map no-endpoint-nodeports { type inet_proto . inet_service : verdict; }
    chain services {
      ip daddr @cluster-ips ${notOfPods} meta mark set meta mark | 0x4000
      ${key} vmap @service-ips
      fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @service-nodeports
    }
    chain masquerading {
      meta mark & 0x4000 != 0 meta mark set meta mark ^ 0x4000 masquerade fully-random
      ip saddr . ip daddr . meta l4proto . th dport @hairpin-connections masquerade fully-random
    }
    chain firewall-check { ${key} vmap @firewall-ips; }
    chain service-endpoints-check { ${key} vmap @no-endpoint-services; }
    chain nodeport-endpoints-check {
      fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @no-endpoint-nodeports
    }
    chain cluster-ips-check {
      ip daddr @cluster-ips reject
      ip daddr ${serviceRanges} drop
    }
    chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }
    chain nat-output { type nat hook output priority -100; jump services; }
    chain nat-postrouting { type nat hook postrouting priority srcnat; jump masquerading; }
    chain filter-prerouting-pre-dnat {
      type filter hook prerouting priority -110; ct state new jump firewall-check;
    }
    chain filter-output-pre-dnat { type filter hook output priority -110; ct state new jump firewall-check; }
    chain filter-input {
      type filter hook input priority 0
      ct state new jump nodeport-endpoints-check
      ct state new jump service-endpoints-check
    }
    chain filter-forward {
      type filter hook forward priority 0
      ${checks}
    }
    chain filter-output {
      type filter hook output priority 0
      ${checks}
    }
  }`
}
