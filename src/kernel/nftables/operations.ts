/**
 * Operations on a table, in an order in which each step is valid: the kernel does all of a list or nothing. From
 * operations come messages for the kernel (wire/messages.ts), and text for people, which nft understands.
 */

import type { Family } from '../family.ts'
import { addressPortBytes, type Bytes, wordBytes } from './bytes.ts'
import type { Clauses, InlineSet } from './clauses/clause.ts'
import { printClauses } from './clauses/print.ts'
import { readRule } from './clauses/read.ts'
import { keyText, keyValueText, type SetTypes, typesOf } from './elements/values.ts'
import { compileRule, type InlineMap } from './rules/compile.ts'
import type { Rule } from './rules/statement.ts'
import { declaration, type SetDefinition } from './sets.ts'

export interface Table {
  readonly family: Family
  readonly name: string
}

export interface Hook {
  readonly type: 'filter' | 'nat' | 'route'
  readonly hook: 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting'
  readonly priority: number
}

export interface Chain {
  readonly name: string
  readonly hook?: Hook
  readonly rules: readonly Rule[]
}

/** As the kernel has them; the value is '' in sets. */
export interface SetElement {
  readonly key: Bytes
  readonly value: Bytes
  /** After which it times out, in a timed set. */
  readonly timeoutMs?: number
}

export type Operation =
  /** Adds what is missing of table, sets and chains, and the rules behind those that the chains have. */
  | {
      readonly do: 'declare'
      readonly table: Table
      readonly sets: readonly SetDefinition[]
      /** Named counters, in which rules count. */
      readonly counters?: readonly string[]
      readonly chains: readonly Chain[]
    }
  | {
      readonly do: 'flush chain' | 'delete chain' | 'flush set' | 'delete set'
      readonly table: Table
      readonly name: string
    }
  | {
      readonly do: 'add' | 'delete'
      readonly table: Table
      readonly set: SetDefinition
      readonly elements: readonly SetElement[]
    }
  | { readonly do: 'delete table'; readonly table: Table }

/** Prints what `nft -f` would load. */
export function operationsText(operations: readonly Operation[]): string {
  return operations.map(operationText).join('')
}

function operationText(operation: Operation): string {
  const table = `${operation.table.family} ${operation.table.name}`
  switch (operation.do) {
    case 'declare': {
      const sets = operation.sets.map(set => setText(operation.table.family, set))
      const counters = (operation.counters ?? []).map(name => `  counter ${name} {\n  }\n`)
      const chains = operation.chains.map(chain => chainText(operation.table.family, chain))
      return `table ${table} {\n${[...counters, ...sets, ...chains].join('')}}\n`
    }
    case 'delete table':
      return `delete table ${table}\n`
    case 'add':
    case 'delete': {
      const types = typesOf(operation.table.family, operation.set)
      const elements = operation.elements.map(element => elementText(types, element))
      return `${operation.do} element ${table} ${operation.set.name} { ${elements.join(', ')} }\n`
    }
    default: {
      const [verb, kind] = operation.do.split(' ')
      return `${verb} ${kind} ${table} ${operation.name}\n`
    }
  }
}

function elementText(types: SetTypes, { key, value, timeoutMs }: SetElement): string {
  return timeoutMs === undefined ? keyValueText(types, key, value) : `${keyText(types, key)} timeout ${timeoutMs}ms`
}

function setText(family: Family, set: SetDefinition): string {
  const lines = declaration(family, set).map(line => `    ${line}\n`)
  return `  ${set.data === undefined ? 'set' : 'map'} ${set.name} {\n${lines.join('')}  }\n`
}

function chainText(family: Family, { name, hook, rules }: Chain): string {
  const lines = [...(hook === undefined ? [] : [hookText(hook)]), ...rules.map(rule => ruleText(family, rule))]
  return `  chain ${name} {\n${lines.map(line => `    ${line}\n`).join('')}  }\n`
}

/** Of a base chain of anybody's. */
export interface FoundHook {
  readonly type: string
  readonly hook: string
  readonly priority: number
  readonly policy?: 'accept' | 'drop'
}

const priorityNames = [
  { name: 'mangle', priority: -150, hooks: undefined },
  { name: 'filter', priority: 0, hooks: undefined },
  { name: 'dstnat', priority: -100, hooks: ['prerouting'] },
  { name: 'srcnat', priority: 100, hooks: ['postrouting'] },
] as const

export function hookText({ type, hook, priority, policy = 'accept' }: FoundHook): string {
  const known = priorityNames.find(each => each.priority === priority && (each.hooks?.some(at => at === hook) ?? true))
  return `type ${type} hook ${hook} priority ${known?.name ?? priority}; policy ${policy};`
}

export function ruleText(family: Family, rule: Rule): string {
  return printClauses(family, ruleClauses(family, rule))
}

/** Reads a rule of ours as the kernel's rules are read, so that both can be compared. */
export function ruleClauses(family: Family, rule: Rule): Clauses {
  const { expressions, map } = compileRule(family, rule)
  return readRule(family, expressions, () => map && inlineSet(map))
}

function inlineSet({ family, endpoints }: InlineMap): InlineSet {
  const types = typesOf(family, { name: '', key: ['number'], data: ['address', 'inet_service'] })
  return { types, elements: endpoints.map((endpoint, slot) => [wordBytes(slot), addressPortBytes(endpoint)] as const) }
}
