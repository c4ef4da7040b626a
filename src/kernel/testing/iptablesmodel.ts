/**
 * A model of the fixed rules of the iptables backend (iptables/chains.ts), without a kernel and without root: says
 * whether a packet of TCP goes to Envoy, and whether one of Envoy's may leave. It knows the matches and targets of those
 * rules, and throws for others. What is not for Envoy goes on by the kernel layer, whose translation it leaves out.
 */

import assert from 'node:assert/strict'
import { contains } from '../../net/cidr.ts'
import { everywhere, type FixedChain, fixedChains, heartbeatSet, type TableName } from '../iptables/chains.ts'
import type { Outcome, Packet } from '../tracer/packet.ts'
import { testOptions } from './states.ts'

type Verdict = Outcome['verdict']

interface State {
  readonly packet: Packet
  mark: number
  connectionMark: number
}

/** What a match says of a packet, by its option, with the module before it where several have that option. */
type Matches = Readonly<Record<string, { readonly arguments: number; holds(given: readonly string[]): boolean }>>

export class IptablesModel {
  readonly #chains: readonly FixedChain[]
  readonly #sets: ReadonlyMap<string, readonly string[]>

  /** @param members of sets, as `lightpath-envoy4 10.96.0.1,tcp:80` */
  constructor(members: readonly string[]) {
    this.#chains = fixedChains('ip', testOptions)
    const heartbeat = everywhere.ip.map(network => `${heartbeatSet('ip')} ${network}`)
    const bySet = Map.groupBy(
      [...members, ...heartbeat].map(member => member.split(' ')),
      ([set]) => set!,
    )
    this.#sets = new Map([...bySet].map(([set, all]) => [set, all.map(([, key]) => key!)]))
  }

  /** Traces a packet of IPv4 while Envoy listens. */
  trace(packet: Packet): Verdict {
    const state: State = { packet, mark: packet.mark ?? 0, connectionMark: packet.connectionMark ?? 0 }
    if (packet.from === 'node') return this.#run('filter', 'OUTPUT', state) ?? 'forward'
    const verdict = this.#run('mangle', 'PREROUTING', state)
    // What has the mark is routed to this node.
    if ((state.mark & testOptions.steeringMark) === 0) return verdict ?? 'forward'
    return this.#run('filter', 'INPUT', state) ?? verdict ?? 'local'
  }

  /** Undefined where no rule decides. */
  #run(table: TableName, builtIn: string, state: State): Verdict | undefined {
    for (const { table: of, from, rules } of this.#chains) {
      const jump = of === table ? from.find(([chain]) => chain === builtIn) : undefined
      if (!jump || !this.#matches(jump[1], state).holds) continue
      for (const rule of rules) {
        const { holds, target } = this.#matches(rule, state)
        if (!holds) continue
        const [name, ...options] = target as [string, ...string[]]
        if (name === 'RETURN') break
        const verdict = act(name, options, state)
        if (verdict !== undefined) return verdict
      }
    }
    return undefined
  }

  #matches(rule: string, state: State): { readonly holds: boolean; readonly target: readonly string[] } {
    const words = rule === '' ? [] : rule.split(' ')
    const matches = this.#matchesOf(state)
    let [module, isNegated, holds] = ['', false, true]
    for (let at = 0; at < words.length; at++) {
      const word = words[at]!
      if (word === '-j') return { holds, target: words.slice(at + 1) }
      if (word === '!') isNegated = true
      else if (word === '-m') module = words[++at]!
      else {
        const match = matches[`${module} ${word}`] ?? matches[word]
        assert.ok(match, `the model does not know ${word} in ${rule}`)
        holds &&= match.holds(words.slice(at + 1, at + 1 + match.arguments)) !== isNegated
        at += match.arguments
        isNegated = false
      }
    }
    return { holds, target: [] }
  }

  #matchesOf({ packet, mark, connectionMark }: State): Matches {
    const { source, destination, port, protocol, isNew } = packet
    const parts: Readonly<Record<string, string>> = {
      src: source,
      dst: destination,
      'dst,dst': `${destination},${protocol}:${port}`,
    }
    const isIn = (key: string, member: string) => (member.includes('/') ? contains(member, key) : key === member)
    const one = (holds: (text: string) => boolean) => ({
      arguments: 1,
      holds: ([text]: readonly string[]) => holds(text!),
    })
    return {
      '-p': one(text => text === protocol),
      '--dport': one(text => text === String(port)),
      '--match-set': {
        arguments: 2,
        holds: ([set, flags]) => (this.#sets.get(set!) ?? []).some(member => isIn(parts[flags!]!, member)),
      },
      'mark --mark': one(text => isMarked(mark, text)),
      'connmark --mark': one(text => isMarked(connectionMark, text)),
      // Nothing is translated before it comes here.
      '--ctstate': one(text => text === 'NEW' && isNew),
      '--ctdir': one(text => text === 'ORIGINAL'),
      '--tcp-flags': { arguments: 2, holds: ([, set]) => set === 'NONE' || isNew },
      '--transparent': { arguments: 0, holds: () => true },
      '--nowildcard': { arguments: 0, holds: () => true },
    }
  }
}

/** Returns what a target decides; undefined where the next rule comes. */
function act(target: string, options: readonly string[], state: State): Verdict | undefined {
  const value = (name: string) => valueAndMask(options[options.indexOf(name) + 1]!)
  const set = (before: number, [bits, mask]: readonly [number, number]) => (before & ~mask) ^ bits
  if (target === 'TPROXY') {
    state.mark = set(state.mark, value('--tproxy-mark'))
    return 'tproxy'
  }
  if (target === 'MARK') state.mark = set(state.mark, value('--set-xmark'))
  else if (target === 'CONNMARK') state.connectionMark = set(state.connectionMark, value('--set-xmark'))
  else if (target === 'REJECT') return options.includes('tcp-reset') ? 'reset' : 'reject'
  else if (target === 'DROP') return 'drop'
  else assert.equal(target, 'SET', 'the model does not know this target')
  return undefined
}

function isMarked(mark: number, text: string): boolean {
  const [value, mask] = valueAndMask(text)
  return (mark & mask) === value
}

/** `0x8000/0x8000` */
function valueAndMask(text: string): readonly [value: number, mask: number] {
  const [value, mask] = text.split('/').map(Number)
  return [value!, mask!]
}
