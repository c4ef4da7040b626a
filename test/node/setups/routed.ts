/** Nodes whose pods are routed one by one. */

import { calico, firewalld, ufw } from './filters.ts'
import { bridgeWith, kubeProxy, lostAtInput, masqueradeByMark, pods, proven, second, secondCard } from './parts.ts'
import type { Setup } from './setup.ts'

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
