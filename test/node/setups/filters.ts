/** Programs that filter what pods send to the host and through it. */

import { kubeProxy, pods } from './parts.ts'

export const calico = (toHost: 'DROP' | 'ACCEPT') => `${kubeProxy}
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

export const ufw = (first: string) => `
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
export const firewalld = (input: string) => `
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
