/** An nftables table from what `nft list table` prints, for tests. */

import type { NftTable } from '../kernel/nftables/snapshot.ts'
import { parseNftDuration } from './duration.ts'

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
