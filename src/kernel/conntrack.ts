/**
 * A UDP "connection" lives as long as packets come, so its conntrack entry outlives the endpoint that it goes to: a
 * client with a fixed port, such as a resolver, would talk to nobody. Entries that lead to an endpoint which no longer
 * answers are removed; then the next packet goes to another. TCP and SCTP end by themselves.
 *
 * The rules are kube-proxy's (pkg/proxy/conntrack): what still answers keeps its clients, whatever traffic policy,
 * topology, or termination say of new ones, and so does a Service that is gone.
 */

import { familyOf, type IpFamily } from '../services/address.ts'
import type { PortState } from '../services/port.ts'
import { type CommandPrefix, runCommand } from './command.ts'

/** A way to a UDP port: `10.0.0.1 53`, or `IPv4 30053` for a node port. To the endpoints that answer, as `10.1.0.1 5353`. */
export type UdpFrontends = Map<string, ReadonlySet<string>>

/**
 * The ways to a port whose entries may have gone stale since it was `before`: an endpoint no longer answers, or there was
 * none to choose, or the way is new. `before` is undefined where it is not known.
 */
export function staleFrontends(before: PortState | undefined, after: PortState): UdpFrontends {
  if (after.port.protocol !== 'UDP') return new Map()
  const answering = new Set(after.answering.map(({ ip, port }) => `${ip} ${port}`))
  const known = new Set(before && isChosen(before) ? frontendsOf(before) : [])
  const isLess = before?.answering.some(({ ip, port }) => !answering.has(`${ip} ${port}`))
  const stale = frontendsOf(after).filter(frontend => isLess || !known.has(frontend))
  return new Map(stale.map(frontend => [frontend, answering]))
}

/** Whether no way to the port is without endpoints. */
function isChosen({ endpoints, external }: PortState): boolean {
  return endpoints.length > 0 && external?.endpoints.length !== 0
}

function frontendsOf({ vip, port, family, external }: PortState): readonly string[] {
  const ips = [vip, ...(external?.externalIPs ?? []), ...(external?.loadBalancerIPs ?? [])]
  const nodePort = external?.nodePort === undefined ? [] : [`${family} ${external.nodePort}`]
  return [...ips.map(ip => `${ip} ${port.port}`), ...nodePort]
}

/** One family's entries were looked through. */
export interface Reconciliation {
  readonly family: IpFamily
  readonly removed: number
  readonly milliseconds: number
}

/** Two processes a family, however many entries: one lists, one removes what is stale. */
export async function removeStaleUdp(
  frontends: UdpFrontends,
  prefix: CommandPrefix = [],
): Promise<readonly Reconciliation[]> {
  const done: Reconciliation[] = []
  for (const family of new Set([...frontends.keys()].map(frontendFamily))) {
    const began = performance.now()
    const removed = await reconcile(frontends, family, prefix)
    done.push({ family, removed, milliseconds: performance.now() - began })
  }
  return done
}

/** Resolves to how many entries were removed; all of a frontend that lead to the same endpoint, address and port, go by one line. */
async function reconcile(frontends: UdpFrontends, family: IpFamily, prefix: CommandPrefix): Promise<number> {
  const flag = family === 'IPv4' ? 'ipv4' : 'ipv6'
  const removals = new Set<string>()
  let removed = 0
  const onLine = (line: string) => {
    const entry = parseEntry(line)
    if (!entry || !isStale(entry, family, frontends)) return
    removed++
    const original = `--orig-dst ${entry.destination} --dport ${entry.port}`
    const endpoint = `--reply-src ${entry.replySource} --reply-port-src ${entry.replyPort}`
    removals.add(`-D -f ${flag} -p udp ${original} ${endpoint}\n`)
  }
  await runCommand(['conntrack', '-L', '-f', flag, '-p', 'udp'], { prefix, onLine })
  // It opens /dev/stdin, which works for a pipe and not for the socket that Node gives a child.
  if (removals.size > 0)
    await runCommand(['sh', '-c', 'cat | conntrack -R -'], { prefix, input: [...removals].join('') })
  return removed
}

function frontendFamily(frontend: string): IpFamily {
  const [address] = frontend.split(' ') as [string]
  return familyOf(address) ?? (address as IpFamily)
}

interface Entry {
  readonly destination: string
  readonly port: string
  readonly replySource: string
  readonly replyPort: string
  readonly isReplied: boolean
}

/** Flows to a node port's number on other machines are none of ours: they are not translated, and are answered. */
function isStale(entry: Entry, family: IpFamily, frontends: UdpFrontends): boolean {
  const { destination, port, replySource, replyPort, isReplied } = entry
  const leadsNowhere = (answering: ReadonlySet<string> | undefined) =>
    answering !== undefined && !answering.has(`${replySource} ${replyPort}`)
  if (leadsNowhere(frontends.get(`${destination} ${port}`))) return true
  const isForeign = replySource === destination && isReplied
  return !isForeign && leadsNowhere(frontends.get(`${family} ${port}`))
}

/** `udp 17 29 src=C dst=VIP sport=c dport=P [UNREPLIED] src=E dst=C sport=e dport=c mark=0 use=1` */
function parseEntry(line: string): Entry | undefined {
  const match = /^udp .*? dst=(\S+) sport=\d+ dport=(\d+) (.*?)src=(\S+) dst=\S+ sport=(\d+) /.exec(line)
  if (!match) return undefined
  const [, destination, port, state, replySource, replyPort] = match as unknown as string[]
  return {
    destination: destination!,
    port: port!,
    replySource: replySource!,
    replyPort: replyPort!,
    isReplied: !state!.includes('[UNREPLIED]'),
  }
}
