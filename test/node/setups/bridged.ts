import { kubeProxy, masqueradeByMark, pods } from './parts.ts'
import type { Setup } from './setup.ts'

/** With pods that share a network: a bridge of the node has their links, or a switch that the node does not see. */
export const bridgedSetups: readonly (Setup & { readonly bridge: string })[] = [
  {
    name: 'Flannel with portmap',
    bridge: 'cni0',
    script: `${kubeProxy}
iptables -t nat -N FLANNEL-POSTRTG
iptables -t nat -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -j RETURN
iptables -t nat -A FLANNEL-POSTRTG -s 10.244.1.0/24 -d ${pods} -j RETURN
iptables -t nat -A FLANNEL-POSTRTG -s ${pods} -d 10.244.1.0/24 -j RETURN
iptables -t nat -A FLANNEL-POSTRTG ! -s ${pods} -d 10.244.1.0/24 -j RETURN
iptables -t nat -A FLANNEL-POSTRTG -s ${pods} ! -d 224.0.0.0/4 -j MASQUERADE --random-fully
iptables -t nat -A FLANNEL-POSTRTG ! -s ${pods} -d ${pods} -j MASQUERADE --random-fully
iptables -t nat -A POSTROUTING -j FLANNEL-POSTRTG
iptables -N FLANNEL-FWD
iptables -A FLANNEL-FWD -s ${pods} -j ACCEPT
iptables -A FLANNEL-FWD -d ${pods} -j ACCEPT
iptables -A FORWARD -j FLANNEL-FWD
${masqueradeByMark('CNI-HOSTPORT')}`,
    outcome: 'envoy',
    clientAddress: /on a bridge \(cni0\)/,
  },
  {
    name: 'kubenet',
    bridge: 'cbr0',
    script: `${kubeProxy}
ip link set cbr0 promisc on
iptables -t nat -A POSTROUTING ! -d 10.0.0.0/8 -m addrtype ! --dst-type LOCAL -j MASQUERADE
`,
    outcome: 'envoy',
    clientAddress: /on a bridge \(cbr0\)/,
  },
  {
    name: 'Antrea, whose switch the node does not see',
    bridge: 'antrea-gw0',
    script: `${kubeProxy}
sysctl -qw net.ipv4.conf.antrea-gw0.arp_announce=1 net.ipv4.conf.antrea-gw0.proxy_arp_pvlan=1 net.ipv4.conf.antrea-gw0.send_redirects=0
iptables -t mangle -N ANTREA-OUTPUT
iptables -t mangle -A ANTREA-OUTPUT -m addrtype --src-type LOCAL -o antrea-gw0 -j MARK --or-mark 0x80000000
iptables -t mangle -A OUTPUT -j ANTREA-OUTPUT
iptables -N ANTREA-FORWARD
iptables -A ANTREA-FORWARD -i antrea-gw0 -j ACCEPT
iptables -A ANTREA-FORWARD -o antrea-gw0 -j ACCEPT
iptables -I FORWARD -j ANTREA-FORWARD
iptables -t nat -N ANTREA-POSTROUTING
iptables -t nat -A ANTREA-POSTROUTING -m mark --mark 0x1/0xff -j SNAT --to-source 172.30.0.11
iptables -t nat -A ANTREA-POSTROUTING -s 10.244.1.0/24 ! -d ${pods} ! -o antrea-gw0 -j MASQUERADE
iptables -t nat -I POSTROUTING -j ANTREA-POSTROUTING
`,
    outcome: 'envoy',
    clientAddress: /there is no pod on this node so far/,
  },
]
