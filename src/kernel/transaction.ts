/** Changes recorded in any order and written as one text for `nft -f -`, in an order in which each is valid. */

import { partsOf, type SetName } from './elements.ts'
import { chainFor, tableName } from './ruleset.ts'

/** What nft reads as one command; its error messages quote the whole of it. */
const elementsPerCommand = 256

/** Whatever refers to something goes before it, and comes after it. */
const removalOrder: readonly SetName[] = [
  ...(['envoy', 'services', 'no-endpoints', 'hairpin'] as const),
  ...(['endpoints-tcp', 'endpoints-udp', 'endpoints-sctp'] as const),
]
const additionOrder: readonly SetName[] = removalOrder.toReversed()

export class Transaction {
  /** Chains, before all elements. */
  readonly #chainTexts: string[] = []
  readonly #removed = new Map<string, string[]>()
  readonly #added = new Map<string, string[]>()
  /** The chains that this transaction adds, as `ip endpoints-tcp-3`. */
  readonly chains = new Set<string>()
  removals = 0
  additions = 0

  get isEmpty(): boolean {
    return this.removals + this.additions === 0
  }

  remove(name: string): void {
    this.removals++
    const { family, set, key } = partsOf(name)
    push(this.#removed, `${family} ${set}`, key)
  }

  /** An element that exists with another value has to be removed as well. Chains not in `existing` are added first. */
  add(name: string, value: string, existing: ReadonlySet<string>): void {
    this.additions++
    const { family, set, key } = partsOf(name)
    push(this.#added, `${family} ${set}`, value === '' ? key : `${key} : ${value}`)
    const chain = set === 'services' ? chainFor(family, value) : undefined
    if (chain === undefined) return
    const chainName = `${family} ${chain.name}`
    if (existing.has(chainName) || this.chains.has(chainName)) return
    this.chains.add(chainName)
    this.#chainTexts.push(chain.text)
  }

  text(): string {
    const commands = [...this.#chainTexts]
    for (const set of removalOrder) commands.push(...elementCommands('delete', set, this.#removed))
    for (const set of additionOrder) commands.push(...elementCommands('add', set, this.#added))
    return commands.join('')
  }
}

function push(lists: Map<string, string[]>, name: string, item: string): void {
  const list = lists.get(name)
  if (list) list.push(item)
  else lists.set(name, [item])
}

function* elementCommands(verb: 'add' | 'delete', set: SetName, lists: Map<string, string[]>): Generator<string> {
  for (const family of ['ip', 'ip6']) {
    const items = lists.get(`${family} ${set}`) ?? []
    for (let start = 0; start < items.length; start += elementsPerCommand) {
      const part = items.slice(start, start + elementsPerCommand)
      yield `${verb} element ${family} ${tableName} ${set} { ${part.join(', ')} }\n`
    }
  }
}
