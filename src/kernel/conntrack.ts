/**
 * A UDP "connection" lives as long as packets come, so its conntrack entry outlives the endpoint that it goes to: a
 * client with a fixed port, such as a resolver, would talk to nobody. Entries of a VIP:port that lead to none of its
 * endpoints are removed. TCP and SCTP end by themselves.
 */

import { familyOf } from '../services/address.ts'
import { type CommandPrefix, runCommand } from './command.ts'
import { type Elements, partsOf } from './elements.ts'

/** By VIP and port, as `10.0.0.1 53`: its endpoints, as `10.1.0.1 5353`. */
export type UdpEndpoints = Map<string, ReadonlySet<string>>

/** The UDP ports among these elements whose entries may have gone stale: an endpoint left, or the first one came. */
export function staleUdpPorts(current: Elements, wanted: Elements): UdpEndpoints {
  const [before, after] = [udpEndpoints(current), udpEndpoints(wanted)]
  const stale: UdpEndpoints = new Map()
  for (const vip of new Set([...before.keys(), ...after.keys()])) {
    const left = before.get(vip) ?? new Set()
    const staying = after.get(vip) ?? new Set()
    if (left.size === 0 || [...left].some(endpoint => !staying.has(endpoint))) stale.set(vip, staying)
  }
  return stale
}

function udpEndpoints(elements: Elements): Map<string, Set<string>> {
  const endpoints = new Map<string, Set<string>>()
  const found = (owner: string, endpoint: string) => {
    if (!endpoints.has(owner)) endpoints.set(owner, new Set())
    endpoints.get(owner)!.add(endpoint)
  }
  for (const [name, value] of elements) {
    const { set, key } = partsOf(name)
    if (set === 'endpoints-udp') {
      const [vip, port] = key.split(' . ')
      found(`${vip} ${port}`, value.replace(' . ', ' '))
    } else if (set === 'clients') {
      const [vip, transport, port, ip, endpointPort] = key.split(' . ')
      if (transport === 'udp') found(`${vip} ${port}`, `${ip} ${endpointPort}`)
    }
  }
  return endpoints
}

/** Two processes a family, however many entries: one lists, one removes what is stale. Resolves to how many were. */
export async function removeStaleUdp(ports: UdpEndpoints, prefix: CommandPrefix = []): Promise<number> {
  let count = 0
  for (const [family, flag] of [
    ['IPv4', 'ipv4'],
    ['IPv6', 'ipv6'],
  ] as const) {
    if (![...ports.keys()].some(vip => familyOf(vip.split(' ')[0]!) === family)) continue
    const removals = new Set<string>()
    const onLine = (line: string) => {
      const entry = parseEntry(line)
      const staying = entry && ports.get(`${entry.destination} ${entry.port}`)
      if (!staying || staying.has(`${entry.replySource} ${entry.replyPort}`)) return
      const original = `--orig-dst ${entry.destination} --dport ${entry.port}`
      removals.add(`-D -f ${flag} -p udp ${original} --reply-src ${entry.replySource}\n`)
    }
    await runCommand(['conntrack', '-L', '-f', flag, '-p', 'udp'], { prefix, onLine })
    if (removals.size === 0) continue
    // It opens /dev/stdin, which works for a pipe and not for the socket that Node gives a child.
    await runCommand(['sh', '-c', 'cat | conntrack -R -'], { prefix, input: [...removals].join('') })
    count += removals.size
  }
  return count
}

/** `udp 17 29 src=C dst=VIP sport=c dport=P [UNREPLIED] src=E dst=C sport=e dport=c mark=0 use=1` */
function parseEntry(line: string) {
  const match = /^udp .*? dst=(\S+) sport=\d+ dport=(\d+) .*?src=(\S+) dst=\S+ sport=(\d+) /.exec(line)
  return match && { destination: match[1]!, port: match[2]!, replySource: match[3]!, replyPort: match[4]! }
}
