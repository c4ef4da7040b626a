/** What several setups have. */

/** Of the second pod, as on a secondary network card. */
export const second = '10.244.1.11'
export const pods = '10.244.0.0/16'

export const proven = /pods are routed one by one/

/** kube-proxy, iptables: what masquerades by mark, and what forwards. */
export const kubeProxy = `
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
export const secondCard = (table: number) => `
sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
ip address add 172.30.0.51/32 dev eth1
ip link set eth1 up
ip route add 172.30.0.1 dev eth1 scope link table ${table}
ip route add default via 172.30.0.1 dev eth1 table ${table}
`

/** portmap and netavark masquerade what has this mark; podman and the CNI plugins have the same. */
export const masqueradeByMark = (chain: string) => `
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

export const bridgeWith = (name: string, address: string) => `
ip link add ${name} type bridge
ip address add ${address} dev ${name}
ip link set ${name} up
ip link add ${name}v0 type veth peer name ${name}v1
ip link set ${name}v0 master ${name} up
`

export const lostAtInput = /drops or rejects at input/
