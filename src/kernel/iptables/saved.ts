/** Reads our rules and members from what `iptables-save` and `ipset save` print. */

import { fixedPrefix, portPrefix, servicesChain, type TableName } from './chains.ts'

export interface SavedRules {
  /** How many rules our chains have, by table. */
  readonly chains: ReadonlyMap<TableName, ReadonlyMap<string, number>>
  /** Rules of other chains that lead to ours, by table: `PREROUTING -j LIGHTPATH-PRE`. */
  readonly jumps: ReadonlyMap<TableName, readonly string[]>
  /** By the names of the chains of Service ports. */
  readonly ports: ReadonlyMap<string, SavedPortChain>
}

/** The rules of a machine that has none of ours. */
export const noRules: SavedRules = { chains: new Map(), jumps: new Map(), ports: new Map() }

export interface SavedPortChain {
  /** The rule that leads to it, in the words of iptables; undefined without one. */
  dispatch: string | undefined
  /** How many rules it has. */
  size: number
}

/** Returns the function that takes the lines in their order, and what has been read so far. */
export function savedRulesReader() {
  const chains = new Map<TableName, Map<string, number>>()
  const jumps = new Map<TableName, string[]>()
  const ports = new Map<string, SavedPortChain>()
  let table: TableName | undefined
  const line = (text: string) => {
    if (text.startsWith('*')) {
      table = text.slice(1) as TableName
      chains.set(table, new Map())
      jumps.set(table, [])
    }
    const [, chain] = /^:(\S+) /.exec(text) ?? []
    if (table && chain !== undefined && isOurs(chain)) {
      chains.get(table)!.set(chain, 0)
      if (chain.startsWith(portPrefix)) ports.set(chain, { dispatch: undefined, size: 0 })
    }
    const [, from, rest, to] = /^-A (\S+) (.*-j (\S+).*)$/.exec(text) ?? []
    if (!table || from === undefined) return
    const own = chains.get(table)!
    if (own.has(from)) own.set(from, own.get(from)! + 1)
    const port = ports.get(from)
    if (port) port.size++
    else if (from === servicesChain && ports.has(to!)) ports.get(to!)!.dispatch = rest!
    else if (isOurs(to!) && !isOurs(from)) jumps.get(table)!.push(`${from} ${rest}`)
  }
  return { line, saved: { chains, jumps, ports } satisfies SavedRules }
}

/**
 * Reads set and member from a line of `ipset save`, as `lightpath-envoy4 10.96.0.1,tcp:80`; undefined for other lines.
 */
export function savedMember(line: string): string | undefined {
  return /^add (lightpath-\S+ \S+)$/.exec(line.trim())?.[1]
}

/** A member of a set of `hash:ip,port` that times out. */
export interface TimedMember {
  readonly ip: string
  readonly port: number
  /** The time that is left. */
  readonly seconds: number
}

/** Reads one from a line of `ipset save`; undefined for other lines. */
export function savedTimeout(line: string): TimedMember | undefined {
  const [, ip, port, seconds] = /^add \S+ (\S+),tcp:(\d+) timeout (\d+)$/.exec(line.trim()) ?? []
  return ip === undefined ? undefined : { ip, port: Number(port), seconds: Number(seconds) }
}

function isOurs(chain: string): boolean {
  return chain.startsWith(fixedPrefix) || chain.startsWith(portPrefix)
}
