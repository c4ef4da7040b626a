/**
 * What programs of the field put into a node's kernel, imitated: rules, chains and their order, marks, routing rules and
 * tables, sysctls, as their documentation and sources have them (docs/operations.md). Interfaces have the lab's names:
 * `pod+` in place of eni+, cali+ and the like.
 */

export interface Setup {
  readonly name: string
  /** For `sh -e` on the node. */
  readonly script: string
  /** Takes away what is neither a rule of nftables nor a routing rule. */
  readonly undo?: string
  /** Served through Envoy, or why the kernel layer serves: LP402's reason. */
  readonly outcome: 'envoy' | RegExp
  /** Why endpoints see what they see, as explain says. */
  readonly clientAddress?: RegExp
  /** A problem that is told. */
  readonly problem?: RegExp
  /** More flags of the agent. */
  readonly flags?: readonly string[]
}

/** Of the second pod, as on a secondary network card. */
const second = '10.244.1.11'
const pods = '10.244.0.0/16'

const proven = /pods are routed one by one/

/** kube-proxy, iptables: what masquerades by mark, and what forwards. */
const kubeProxy = `
iptables -t nat -N KUBE-POSTROUTING
iptables -t nat -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
iptables -t nat -A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
iptables -t nat -A KUBE-POSTROUTING -j MASQUERADE --random-fully
iptables -t nat -I POSTROUTING -j KUBE-POSTROUTING
iptables -N KUBE-FORWARD
iptables -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
iptables -A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
iptables -I FORWARD -j KUBE-FORWARD
`

/** A second network card, whose pods leave by it: their own table and rules. */
const secondCard = (table: number) => `
sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
ip address add 172.30.0.51/32 dev eth1
ip link set eth1 up
ip route add 172.30.0.1 dev eth1 scope link table ${table}
ip route add default via 172.30.0.1 dev eth1 table ${table}
`

/** portmap and netavark masquerade what has this mark; podman and the CNI plugins have the same. */
const masqueradeByMark = (chain: string) => `
iptables -t nat -N ${chain}-SETMARK
iptables -t nat -A ${chain}-SETMARK -s ${pods} -m conntrack --ctstate NEW -p tcp --dport 8088 -j MARK --set-xmark 0x2000/0x2000
iptables -t nat -N ${chain}-DNAT
iptables -t nat -A ${chain}-DNAT -p tcp --dport 8088 -j ${chain}-SETMARK
iptables -t nat -A ${chain}-DNAT -p tcp --dport 8088 -j DNAT --to-destination ${second}:8080
iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j ${chain}-DNAT
iptables -t nat -A OUTPUT -m addrtype --dst-type LOCAL -j ${chain}-DNAT
iptables -t nat -N ${chain}-MASQ
iptables -t nat -A ${chain}-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE
iptables -t nat -I POSTROUTING -j ${chain}-MASQ
`

const bridgeWith = (name: string, address: string) => `
ip link add ${name} type bridge
ip address add ${address} dev ${name}
ip link set ${name} up
ip link add ${name}v0 type veth peer name ${name}v1
ip link set ${name}v0 master ${name} up
`

const calico = (toHost: 'DROP' | 'ACCEPT') => `${kubeProxy}
iptables -t raw -N cali-PREROUTING
iptables -t raw -A cali-PREROUTING -j MARK --set-xmark 0x0/0xf0000
iptables -t raw -A cali-PREROUTING -i pod+ -j MARK --set-xmark 0x40000/0x40000
iptables -t raw -A cali-PREROUTING -m mark --mark 0x40000/0x40000 -m rpfilter --validmark --invert -j DROP
iptables -t raw -I PREROUTING -j cali-PREROUTING
iptables -t mangle -N cali-PREROUTING
iptables -t mangle -A cali-PREROUTING -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -t mangle -A cali-PREROUTING -m mark --mark 0x10000/0x10000 -j ACCEPT
iptables -t mangle -I PREROUTING -j cali-PREROUTING
iptables -N cali-from-wl-dispatch
iptables -A cali-from-wl-dispatch -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A cali-from-wl-dispatch -m conntrack --ctstate INVALID -j DROP
iptables -A cali-from-wl-dispatch -j MARK --set-xmark 0x0/0x10000
iptables -A cali-from-wl-dispatch -j MARK --set-xmark 0x10000/0x10000
iptables -N cali-wl-to-host
iptables -A cali-wl-to-host -j cali-from-wl-dispatch
iptables -A cali-wl-to-host -j ${toHost}
iptables -N cali-INPUT
iptables -A cali-INPUT -i pod+ -g cali-wl-to-host
iptables -I INPUT -j cali-INPUT
iptables -N cali-FORWARD
iptables -A cali-FORWARD -j MARK --set-xmark 0x0/0xe0000
iptables -A cali-FORWARD -i pod+ -j cali-from-wl-dispatch
iptables -I FORWARD -j cali-FORWARD
iptables -A FORWARD -m mark --mark 0x10000/0x10000 -j ACCEPT
`

const ufw = (first: string) => `
iptables -P INPUT DROP
iptables -P FORWARD ACCEPT
iptables -N ufw-not-local
iptables -A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN
iptables -A ufw-not-local -m addrtype --dst-type MULTICAST -j RETURN
iptables -A ufw-not-local -m addrtype --dst-type BROADCAST -j RETURN
iptables -A ufw-not-local -j DROP
iptables -N ufw-before-input
${first}
iptables -A ufw-before-input -i lo -j ACCEPT
iptables -A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A ufw-before-input -m conntrack --ctstate INVALID -j DROP
iptables -A ufw-before-input -p icmp --icmp-type echo-request -j ACCEPT
iptables -A ufw-before-input -j ufw-not-local
iptables -A ufw-before-input -s ${pods} -j ACCEPT
iptables -A INPUT -j ufw-before-input
`

/** Its pods are let through forward, as an operator has to, and to the host where \`input\` says so. */
const firewalld = (input: string) => `
nft -f - <<'END'
table inet firewalld {
  chain mangle_PREROUTING { type filter hook prerouting priority mangle + 10; policy accept; }
  chain filter_PREROUTING {
    type filter hook prerouting priority filter + 10; policy accept;
    icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept
    meta nfproto ipv6 fib saddr . mark . iif oif missing drop
  }
  chain nat_POSTROUTING { type nat hook postrouting priority srcnat + 10; policy accept; }
  chain filter_INPUT {
    type filter hook input priority filter + 10; policy accept;
    ct state { established, related } accept
    ct status dnat accept
    iifname "lo" accept
    ct state invalid drop
    ${input}
    icmp type echo-request accept
    drop
  }
  chain filter_FORWARD {
    type filter hook forward priority filter + 10; policy accept;
    ct state { established, related } accept
    ct status dnat accept
    iifname "lo" accept
    ct state invalid drop
    ip saddr ${pods} accept
    drop
  }
  chain filter_OUTPUT { type filter hook output priority filter + 10; policy accept; ct state { established, related } accept; oifname "lo" accept; }
}
END
`

const lostAtInput = /drops or rejects at input/

export const routedSetups: readonly Setup[] = [
  {
    name: 'AWS VPC CNI with a pod on a secondary network card',
    script: `${secondCard(2)}${kubeProxy}
sysctl -qw net.ipv4.conf.eth0.rp_filter=2
ip rule add priority 512 to 10.244.1.10 lookup main
ip rule add priority 512 to ${second} lookup main
ip rule add priority 1024 fwmark 0x80/0x80 lookup main
ip rule add priority 1536 from ${second} lookup 2
iptables -t mangle -A PREROUTING -i eth0 -m addrtype --dst-type LOCAL --limit-iface-in -j CONNMARK --set-xmark 0x80/0x80
iptables -t mangle -A PREROUTING -i pod+ -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80
iptables -t nat -N AWS-SNAT-CHAIN-0
iptables -t nat -A AWS-SNAT-CHAIN-0 -d 172.30.0.0/24 -j RETURN
iptables -t nat -A AWS-SNAT-CHAIN-0 -d ${pods} -j RETURN
iptables -t nat -A AWS-SNAT-CHAIN-0 ! -o vlan+ -m addrtype ! --dst-type LOCAL -j SNAT --to-source 172.30.0.11 --random-fully
iptables -t nat -A POSTROUTING -j AWS-SNAT-CHAIN-0
iptables -t nat -N AWS-CONNMARK-CHAIN-0
iptables -t nat -A AWS-CONNMARK-CHAIN-0 -d 172.30.0.0/24 -j RETURN
iptables -t nat -A AWS-CONNMARK-CHAIN-0 -d ${pods} -j RETURN
iptables -t nat -A AWS-CONNMARK-CHAIN-0 -j CONNMARK --set-xmark 0x80/0x80
iptables -t nat -A PREROUTING -i pod+ -j AWS-CONNMARK-CHAIN-0
iptables -t nat -A PREROUTING -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80
`,
    outcome: 'envoy',
    clientAddress: proven,
  },
  {
    name: 'AWS VPC CNI with security groups for pods, which routes by where packets come in',
    script: `${secondCard(101)}
ip rule add priority 10 iif eth1 lookup 101
ip rule add priority 10 iif pod11 lookup 101
ip route add 10.244.1.11 dev pod11 table 101
ip rule add priority 512 to 10.244.1.10 lookup main
`,
    outcome: 'envoy',
    clientAddress: /routed by where it comes from/,
  },
  {
    name: "Cilium's ENI mode beside kube-proxy",
    script: `${secondCard(11)}${kubeProxy}
ip rule add priority 100 lookup local
ip rule del priority 0
ip rule add priority 9 fwmark 0x200/0xf00 lookup 2004
ip route add local default dev lo table 2004
ip rule add priority 10 fwmark 0xa00/0xf00 lookup 2005
ip route add default via 172.30.0.1 dev eth0 table 2005
ip rule add priority 20 to 10.244.1.10 lookup main
ip rule add priority 20 to ${second} lookup main
ip rule add priority 109 fwmark 0x80/0x80 lookup main
ip rule add priority 111 from ${second} lookup 11
ip link add cilium_host type veth peer name cilium_net
iptables -t mangle -N CILIUM_PRE_mangle
iptables -t mangle -A CILIUM_PRE_mangle ! -i lo -m socket --transparent -m mark ! --mark 0xe00/0xf00 -m mark ! --mark 0x800/0xf00 -j MARK --set-xmark 0x200/0xffffffff
iptables -t mangle -I PREROUTING -j CILIUM_PRE_mangle
iptables -N CILIUM_INPUT
iptables -A CILIUM_INPUT -m mark --mark 0x200/0xf00 -j ACCEPT
iptables -I INPUT -j CILIUM_INPUT
iptables -N CILIUM_FORWARD
iptables -A CILIUM_FORWARD -i pod+ -j ACCEPT
iptables -I FORWARD -j CILIUM_FORWARD
`,
    undo: 'ip link delete cilium_host; ip route flush table 2004; ip route flush table 2005',
    outcome: 'envoy',
    clientAddress: /data plane in eBPF.*cilium_/,
  },
  {
    name: 'Calico with eBPF off, which drops what pods send to the host',
    script: calico('DROP'),
    outcome: lostAtInput,
  },
  {
    name: 'Calico with eBPF off and defaultEndpointToHostAction Accept',
    script: calico('ACCEPT'),
    outcome: 'envoy',
    clientAddress: proven,
  },
  {
    name: 'firewalld whose zone drops what pods send to the host',
    script: firewalld(''),
    outcome: lostAtInput,
  },
  {
    name: 'firewalld with the pods in a zone that accepts',
    script: firewalld(`ip saddr ${pods} accept`),
    outcome: 'envoy',
    clientAddress: proven,
  },
  {
    name: 'ufw, which drops at input what is addressed to another machine',
    script: ufw(''),
    outcome: lostAtInput,
  },
  {
    name: 'ufw with a rule of /etc/ufw/before.rules for the steering mark',
    script: ufw('iptables -A ufw-before-input -m mark --mark 0x8000/0x8000 -j ACCEPT'),
    outcome: 'envoy',
    clientAddress: proven,
  },
  {
    name: 'Tailscale',
    script: `
ip link add tailscale0 type bridge
ip address add 100.100.1.1/32 dev tailscale0
ip link set tailscale0 up
ip rule add priority 5210 fwmark 0x80000/0xff0000 lookup main
ip rule add priority 5230 fwmark 0x80000/0xff0000 lookup default
ip rule add priority 5250 fwmark 0x80000/0xff0000 unreachable
ip rule add priority 5270 lookup 52
ip route add 100.64.0.0/10 dev tailscale0 table 52
iptables -N ts-input
iptables -A ts-input -s 100.100.1.1 -i lo -j ACCEPT
iptables -A ts-input -s 100.64.0.0/10 ! -i tailscale0 -j DROP
iptables -I INPUT -j ts-input
iptables -N ts-forward
iptables -A ts-forward -i tailscale0 -j MARK --set-xmark 0x40000/0xff0000
iptables -A ts-forward -m mark --mark 0x40000/0xff0000 -j ACCEPT
iptables -A ts-forward -s 100.64.0.0/10 -o tailscale0 -j DROP
iptables -A ts-forward -o tailscale0 -j ACCEPT
iptables -I FORWARD -j ts-forward
iptables -t nat -N ts-postrouting
iptables -t nat -A ts-postrouting -m mark --mark 0x40000/0xff0000 -j MASQUERADE
iptables -t nat -I POSTROUTING -j ts-postrouting
`,
    undo: 'ip link delete tailscale0',
    outcome: 'envoy',
    clientAddress: proven,
  },
  {
    name: 'docker beside the pods, with a container of its own',
    script: `${bridgeWith('docker0', '172.17.0.1/16')}
iptables -P FORWARD DROP
iptables -N DOCKER-USER
iptables -N DOCKER-FORWARD
iptables -A DOCKER-FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A DOCKER-FORWARD -i docker0 -j ACCEPT
iptables -I FORWARD -j DOCKER-FORWARD
iptables -I FORWARD -j DOCKER-USER
iptables -A FORWARD -s ${pods} -j ACCEPT
iptables -A FORWARD -d ${pods} -j ACCEPT
iptables -t nat -N DOCKER
iptables -t nat -A DOCKER -i docker0 -j RETURN
iptables -t nat -A DOCKER ! -i docker0 -p tcp --dport 8090 -j DNAT --to-destination 172.17.0.2:80
iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
iptables -t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
iptables -t raw -A PREROUTING -d 172.17.0.2 ! -i docker0 -j DROP
`,
    undo: 'ip link delete docker0; ip link delete docker0v0',
    outcome: 'envoy',
    clientAddress: /on a bridge \(docker0\)/,
  },
  {
    name: 'podman beside the pods, with a published port',
    script: `
ip link add podman0 type bridge
ip address add 10.88.0.1/16 dev podman0
ip link set podman0 up
iptables -N NETAVARK_FORWARD
iptables -A NETAVARK_FORWARD -d 10.88.0.0/16 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A NETAVARK_FORWARD -s 10.88.0.0/16 -j ACCEPT
iptables -I FORWARD -j NETAVARK_FORWARD
iptables -t nat -A POSTROUTING -s 10.88.0.0/16 ! -d 10.88.0.0/16 -j MASQUERADE
${masqueradeByMark('NETAVARK-HOSTPORT')}`,
    undo: 'ip link delete podman0',
    outcome: 'envoy',
    clientAddress: proven,
  },
  {
    name: 'portmap, where --envoy-mark is the mark that it masquerades',
    script: masqueradeByMark('CNI-HOSTPORT'),
    flags: ['--envoy-mark', '0x2000'],
    outcome: 'envoy',
    clientAddress: /a rule of others masquerades it/,
    problem: /LP406.*CNI-HOSTPORT/,
  },
]

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
