/**
 * An nftables table of anybody's as `nft list table` prints it: chains with their rules, sets and maps with their elements.
 * Text, since nft may be built without JSON; only what verify reads is kept.
 */

export interface NftTable {
  /** Rules without their comments, by chain; a base chain's first is its `type … hook …`. */
  readonly chains: ReadonlyMap<string, readonly string[]>
  readonly sets: ReadonlyMap<string, NftSet>
}

export interface NftSet {
  /** How long an element lives, in seconds; undefined where it does not end. */
  readonly timeoutSeconds: number | undefined
  /** Value by key; '' in sets. Both as printed, without comment and time-outs. */
  readonly elements: ReadonlyMap<string, string>
  /** By key, where there is one. */
  readonly comments: ReadonlyMap<string, string>
}

interface OpenSet {
  timeoutSeconds: number | undefined
  readonly elements: Map<string, string>
  readonly comments: Map<string, string>
}

/** Takes the lines of one table in their order. */
export class NftTableReader {
  readonly #chains = new Map<string, string[]>()
  readonly #sets = new Map<string, OpenSet>()
  #chain: string[] | undefined
  #set: OpenSet | undefined
  #inElements = false

  line(line: string): void {
    const text = line.trim()
    const [, kind, name = ''] = /^(set|map|chain) (\S+) \{$/.exec(text) ?? []
    if (kind !== undefined) this.#open(kind, name)
    else if (text === '}') this.#close()
    else if (this.#chain) this.#rule(text, this.#chain)
    else if (this.#set) this.#setLine(text, this.#set)
  }

  get table(): NftTable {
    return { chains: this.#chains, sets: this.#sets }
  }

  #open(kind: string, name: string): void {
    if (kind === 'chain') {
      this.#chain = []
      this.#chains.set(name, this.#chain)
    } else {
      this.#set = { timeoutSeconds: undefined, elements: new Map(), comments: new Map() }
      this.#sets.set(name, this.#set)
    }
  }

  #close(): void {
    this.#chain = undefined
    this.#set = undefined
  }

  #rule(text: string, rules: string[]): void {
    if (text !== '' && !text.startsWith('comment ')) rules.push(text.replace(/ comment "[^"]*"$/, ''))
  }

  #setLine(text: string, set: OpenSet): void {
    const timeout = /^timeout (\S+)$/.exec(text)
    if (timeout) set.timeoutSeconds = parseNftDuration(timeout[1]!)
    const start = text.startsWith('elements = {')
    if (!start && !this.#inElements) return
    this.#inElements = !text.endsWith('}')
    for (const element of text.replace(/^elements = \{|\}$/g, '').split(',')) readElement(element.trim(), set)
  }
}

/** `10.0.0.1 . tcp . 80 comment "default/web:http" : goto reject-chain` */
function readElement(text: string, set: OpenSet): void {
  if (text === '') return
  const comment = / comment "([^"]*)"/.exec(text)
  const [key, value = ''] = text.replace(/ (comment "[^"]*"|(timeout|expires) \S+)/g, '').split(' : ') as [
    string,
    string?,
  ]
  set.elements.set(key, value)
  if (comment) set.comments.set(key, comment[1]!)
}

const unitSeconds: Readonly<Record<string, number>> = { w: 604_800, d: 86_400, h: 3600, m: 60, s: 1, ms: 0.001 }

/** `1d2h`, `3h`, `90s` → seconds */
export function parseNftDuration(text: string): number {
  return [...text.matchAll(/(\d+)(ms|[wdhms])/g)].reduce(
    (sum, [, count, unit]) => sum + Number(count) * unitSeconds[unit!]!,
    0,
  )
}
