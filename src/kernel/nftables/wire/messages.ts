/** Writes operations as the messages of one batch, which the kernel does as a whole or not at all. */

import { setImmediate as turn } from 'node:timers/promises'
import { flags } from '../../netlink/answer.ts'
import type { MessageWriter } from '../../netlink/writer.ts'
import { addressPortBytes, wordBytes } from '../bytes.ts'
import type { ElementName } from '../elements/elements.ts'
import type { Chain, Hook, Operation, Table } from '../operations.ts'
import { compileRule, type InlineMap, inlineMapName } from '../rules/compile.ts'
import { counterType, hooksFamily } from '../rules/expression.ts'
import type { Rule } from '../rules/statement.ts'
import type { SetDefinition } from '../sets.ts'
import { writeElement } from './elements.ts'
import { writeExpressions } from './expression.ts'
import { type Batch, BatchRefused, nameOf, type Sent, type SentElements } from './sent.ts'
import { setAttributes, writeInlineMap, writeSet } from './sets.ts'

const subsystem = 10
export const messageTypes = {
  newTable: 0,
  getTable: 1,
  deleteTable: 2,
  newChain: 3,
  getChain: 4,
  deleteChain: 5,
  newRule: 6,
  getRule: 7,
  deleteRule: 8,
  newSet: 9,
  getSet: 10,
  deleteSet: 11,
  newElements: 12,
  getElements: 13,
  deleteElements: 14,
  newGeneration: 15,
  getGeneration: 16,
  newObject: 18,
  getObject: 19,
} as const
const batchTypes = { begin: 0x10, end: 0x11 } as const
const batchGeneration = 1

export const tableAttributes = { name: 1 } as const
export const chainAttributes = { table: 1, name: 3, hook: 4, policy: 5, type: 7 } as const
export const hookAttributes = { number: 1, priority: 2 } as const
export const ruleAttributes = { table: 1, chain: 2, expressions: 4 } as const
export const objectAttributes = { table: 1, name: 2, type: 3, data: 4, packets: 2 } as const
export const listAttributes = { table: 1, set: 2, elements: 3, setId: 4 } as const

export const hookNumbers: Readonly<Record<Hook['hook'], number>> = {
  prerouting: 0,
  input: 1,
  forward: 2,
  output: 3,
  postrouting: 4,
}
const policyAccept = 1

export type MessageName = keyof typeof messageTypes

export function messageType(name: MessageName): number {
  return (subsystem << 8) | messageTypes[name]
}

/** Encodes a `struct nfgenmsg`. */
export function familyHeader(family: number, resource = 0): Uint8Array {
  return Uint8Array.of(family, 0, resource >> 8, resource & 255)
}

export interface BatchOptions {
  /** That the ruleset must still have, else all is refused; undefined: any. */
  readonly generation?: number
  /** Has the kernel check all of it and do nothing: the batch lacks its end. */
  readonly isCheck?: boolean
}

/** So many elements are written before the event loop turns. */
const elementsATurn = 2048

/** Writes a whole batch. The event loop turns where it is long: nobody else may use the writer meanwhile. */
export async function writeBatch(
  writer: MessageWriter,
  operations: readonly Operation[],
  nextSequence: () => number,
  { generation, isCheck = false }: BatchOptions = {},
): Promise<Batch> {
  writer.clear()
  const beginning = nextSequence()
  writer.message(batchTypes.begin, flags.request, beginning, body => {
    body.raw(familyHeader(0, subsystem))
    if (generation !== undefined) body.be32(batchGeneration, generation)
  })
  const batch = new BatchWriter(writer, nextSequence)
  let elements = 0
  for (const [index, operation] of operations.entries()) {
    batch.operation(operation, index === operations.length - 1)
    elements += 'elements' in operation ? operation.elements.length : 0
    if (elements < elementsATurn) continue
    elements = 0
    await turn()
  }
  if (!isCheck) {
    writer.message(batchTypes.end, flags.request, nextSequence(), body => void body.raw(familyHeader(0, subsystem)))
  }
  return { beginning, messages: batch.sent }
}

const adding = flags.create
const appending = flags.create | flags.append

class BatchWriter {
  readonly #writer: MessageWriter
  readonly #nextSequence: () => number
  readonly sent: Sent[] = []
  #lastSetId = 0

  constructor(writer: MessageWriter, nextSequence: () => number) {
    this.#writer = writer
    this.#nextSequence = nextSequence
  }

  /** Writes an operation. The last message of a batch is acknowledged. */
  operation(operation: Operation, isLast: boolean): void {
    const { table } = operation
    const ack = isLast ? flags.ack : 0
    switch (operation.do) {
      case 'declare':
        return void this.#declare(operation, ack)
      case 'delete table':
        return void this.#message('deleteTable', table, ack, 'delete the table', undefined, body => {
          body.text(tableAttributes.name, table.name)
        })
      case 'add':
      case 'delete':
        return void this.#elements(operation, ack)
      default:
        return void this.#named(operation, ack)
    }
  }

  #named({ do: verb, table, name }: Extract<Operation, { name: string }>, ack: number): void {
    const types = {
      'flush chain': 'deleteRule',
      'delete chain': 'deleteChain',
      'flush set': 'deleteElements',
      'delete set': 'deleteSet',
    } as const
    this.#message(types[verb], table, ack, `${verb} ${name}`, nameOf(table, name), body => {
      body.text(setAttributes.table, table.name)
      const attribute = verb === 'delete chain' ? chainAttributes.name : setAttributes.name
      body.text(attribute, name)
    })
  }

  /** Sets and chains before the rules that lead to them. */
  #declare({ table, sets, counters = [], chains }: Extract<Operation, { do: 'declare' }>, ack: number): void {
    const rules = chains.flatMap(chain => chain.rules.map(rule => ({ chain: chain.name, rule })))
    const last = sets.length + counters.length + chains.length + rules.length
    let count = 0
    const flagsOf = (base: number) => base | (count++ === last ? ack : 0)
    this.#message('newTable', table, flagsOf(adding), 'add the table', undefined, body => {
      body.text(tableAttributes.name, table.name)
    })
    for (const set of sets) {
      this.#message('newSet', table, flagsOf(adding), `add set ${set.name}`, nameOf(table, set.name), body => {
        writeSet(body, table.family, table.name, set, ++this.#lastSetId)
      })
    }
    for (const name of counters) {
      this.#message('newObject', table, flagsOf(adding), `add counter ${name}`, undefined, body => {
        body.text(objectAttributes.table, table.name)
        body.text(objectAttributes.name, name)
        body.be32(objectAttributes.type, counterType)
        body.nested(objectAttributes.data, () => {})
      })
    }
    for (const chain of chains) this.#chain(table, chain, flagsOf(adding))
    for (const { chain, rule } of rules) this.#rule(table, chain, rule, flagsOf(appending))
  }

  #chain(table: Table, { name, hook }: Chain, flags: number): void {
    this.#message('newChain', table, flags, `add chain ${name}`, nameOf(table, name), body => {
      body.text(chainAttributes.table, table.name)
      body.text(chainAttributes.name, name)
      if (hook === undefined) return
      body.nested(chainAttributes.hook, at => {
        at.be32(hookAttributes.number, hookNumbers[hook.hook])
        at.be32(hookAttributes.priority, hook.priority >>> 0)
      })
      body.be32(chainAttributes.policy, policyAccept)
      body.text(chainAttributes.type, hook.type)
    })
  }

  #rule(table: Table, chain: string, rule: Rule, flags: number): void {
    const { expressions, map } = compileRule(table.family, rule)
    const setId = map && this.#inlineMap(table, chain, map)
    this.#message('newRule', table, flags, `add a rule to chain ${chain}`, nameOf(table, chain), body => {
      body.text(ruleAttributes.table, table.name)
      body.text(ruleAttributes.chain, chain)
      const linked = expressions.map(expression => {
        const isInline = expression.name === 'lookup' && expression.set === inlineMapName
        return isInline ? { ...expression, setId: setId! } : expression
      })
      writeExpressions(body, ruleAttributes.expressions, linked)
    })
  }

  #inlineMap(table: Table, chain: string, { family, endpoints }: InlineMap): number {
    const id = ++this.#lastSetId
    const what = `add a map to chain ${chain}`
    this.#message('newSet', table, adding, what, nameOf(table, chain), body => {
      writeInlineMap(body, family, table.name, inlineMapName, endpoints.length, id)
    })
    for (let start = 0; start < endpoints.length; start += endpointsPerMessage) {
      this.#message('newElements', table, adding, what, nameOf(table, chain), body => {
        body.text(listAttributes.table, table.name)
        body.text(listAttributes.set, inlineMapName)
        body.be32(listAttributes.setId, id)
        body.nested(listAttributes.elements, list => {
          endpoints.slice(start, start + endpointsPerMessage).forEach((endpoint, index) => {
            writeElement(list, inlineMap, { key: wordBytes(start + index), value: addressPortBytes(endpoint) })
          })
        })
      })
    }
    return id
  }

  #elements({ do: verb, table, set, elements }: Extract<Operation, { do: 'add' | 'delete' }>, ack: number): void {
    const type = verb === 'add' ? 'newElements' : 'deleteElements'
    const places: number[] = []
    const beginning = this.#writer.length
    this.#message(
      type,
      table,
      (verb === 'add' ? adding : 0) | ack,
      `${verb} elements of ${set.name}`,
      undefined,
      body => {
        body.text(listAttributes.table, table.name)
        body.text(listAttributes.set, set.name)
        body.nested(listAttributes.elements, list => {
          for (const element of elements) {
            places.push(list.length - beginning)
            writeElement(list, set, element)
          }
          places.push(list.length - beginning)
        })
      },
      { table, set, items: elements, places },
    )
  }

  #message(
    type: MessageName,
    table: Table,
    flag: number,
    what: string,
    name: ElementName | undefined,
    write: (writer: MessageWriter) => void,
    elements?: SentElements,
  ): void {
    const sequence = this.#nextSequence()
    this.sent.push({ sequence, what, name, elements })
    this.#writer.message(messageType(type), flags.request | flag, sequence, body => {
      body.raw(familyHeader(hooksFamily[table.family]))
      refusing(what, name, () => write(body))
    })
  }
}

/** Refuses what cannot be written at all, such as what is too long for an attribute, as the kernel would. */
function refusing(what: string, name: ElementName | undefined, write: () => void): void {
  try {
    write()
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof RangeError)) throw error
    throw new BatchRefused(`cannot ${what}: ${error.message}`, 'EINVAL', name === undefined ? [] : [name])
  }
}

/** So that their list fits into one attribute. */
const endpointsPerMessage = 256

const inlineMap: SetDefinition = { name: inlineMapName, key: ['number'], data: ['address', 'inet_service'] }
