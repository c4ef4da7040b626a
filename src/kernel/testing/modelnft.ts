/** An nftables client whose kernel is the model: it records what was written, and refuses what a test wants refused. */

import type { Family } from '../family.ts'
import type { NftClient, TableReader } from '../nftables/client.ts'
import { type ElementName, heartbeatSet, setCode } from '../nftables/elements/elements.ts'
import { keyText, typesOf, valueText } from '../nftables/elements/values.ts'
import { TransactionRefused } from '../nftables/errors.ts'
import { type Operation, operationsText } from '../nftables/operations.ts'
import { CommandError } from '../system/command.ts'
import { NftablesModel } from '../tracer/model.ts'

/** Interprets what it is given as the kernel would. */
export class ModelNft implements NftClient {
  model = new NftablesModel()
  /** The transactions, as text. */
  readonly texts: string[] = []
  /** Whether an element, such as `services { 10.0.0.1 . tcp . 80 : drop }`, is refused. */
  refuses: (text: string) => boolean = () => false
  missing = false
  /** It says which elements it refuses; else only that there are some. */
  isExact = true

  async apply(operations: readonly Operation[]): Promise<number> {
    this.#check()
    const names = operations.flatMap(operation => this.#refused(operation))
    if (names.length > 0) throw this.#refusal(names, operations)
    const attempt = this.model.copy()
    try {
      attempt.apply(operations)
    } catch (error) {
      throw new TransactionRefused({ message: (error as Error).message, code: 'ENOENT', names: [], isExact: true })
    }
    this.model = attempt
    if (!operations.every(isOfHeartbeat)) this.texts.push(operationsText(operations))
    return 1
  }

  async chains(family: Family) {
    this.#check()
    return this.model.chainNames(family)
  }

  async sets(family: Family) {
    this.#check()
    return this.model.setNames(family)
  }

  async hasChain(family: Family, chain: string) {
    return (await this.chains(family)).includes(chain)
  }

  async read(family: Family, reader: TableReader) {
    this.#check()
    return this.model.read(family, reader)
  }

  async remaining() {
    return undefined
  }

  async keys(family: Family, set: string) {
    this.#check()
    return this.model.keys(family, set)
  }

  close() {}

  #refused(operation: Operation): readonly ElementName[] {
    if (operation.do !== 'add' && operation.do !== 'delete') return []
    const types = typesOf(operation.table.family, operation.set)
    const refused = operation.elements.filter(({ key, value }) => {
      return this.refuses(`${operation.set.name} { ${keyText(types, key)} : ${valueText(types, value)} }`)
    })
    return namesIn({ ...operation, elements: refused })
  }

  #refusal(refused: readonly string[], operations: readonly Operation[]): TransactionRefused {
    const all = operations.flatMap(operation => {
      if (operation.do !== 'add' && operation.do !== 'delete') return []
      return namesIn(operation)
    })
    const names = this.isExact ? refused : all
    return new TransactionRefused({ message: 'EINVAL', code: 'EINVAL', names, isExact: this.isExact })
  }

  #check(): void {
    if (this.missing) throw new CommandError('nf_tables', 'permission', 'socket: EPERM')
  }
}

function isOfHeartbeat(operation: Operation): boolean {
  return operation.do === 'flush set'
    ? operation.name === heartbeatSet
    : 'set' in operation && operation.set.name === heartbeatSet
}

function namesIn({ table, set, elements }: Extract<Operation, { do: 'add' | 'delete' }>): readonly ElementName[] {
  const code = setCode(table.family, set.name)
  return code === undefined ? [] : elements.map(({ key }) => code + key)
}
