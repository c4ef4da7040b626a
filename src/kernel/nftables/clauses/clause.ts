/**
 * Rules of anybody's as they are read from the kernel: what is compared with what, looked up where, and done. Our own
 * rules are written as statements (rules/statement.ts), which can say less.
 */

import type { Family } from '../../family.ts'
import type { Bytes } from '../bytes.ts'
import type { SetTypes } from '../elements/values.ts'
import type { VerdictData } from '../rules/expression.ts'
import type { Marked } from '../rules/statement.ts'
import type { Field, FieldValue } from './fields.ts'

export type Key = readonly Field[]

export type Comparison = 'eq' | 'neq' | 'lt' | 'lte' | 'gt' | 'gte'

/** The name of a set, or its elements where it is a part of the rule: those with numbers as keys are in order. */
export type SetOfRule = string | InlineSet

export interface InlineSet {
  readonly types: SetTypes
  readonly elements: readonly (readonly [key: Bytes, value: Bytes])[]
}

/** Of what is translated or redirected: undefined where it stays, 'unknown' where only the packet tells. */
export type Port = number | 'unknown' | undefined

/** Where a connection is translated to; undefined: we do not know. */
export type Destination =
  | { readonly ip: string; readonly port: Port }
  | { readonly key: Key; readonly map: SetOfRule; readonly family: Family }
  | undefined

/** How ports and addresses are chosen. */
export type NatOptions = readonly ('random' | 'fully-random' | 'persistent')[]

export type Clause =
  /** @param mask undefined: all bits */
  | {
      readonly kind: 'compare'
      readonly field: Field
      readonly op: Comparison
      readonly mask?: number
      readonly value: FieldValue
    }
  | { readonly kind: 'lookup'; readonly key: Key; readonly set: SetOfRule; readonly isNot: boolean }
  | { readonly kind: 'verdict map'; readonly key: Key; readonly map: SetOfRule }
  | { readonly kind: 'verdict'; readonly verdict: VerdictData }
  | { readonly kind: 'set mark'; readonly of: Marked; readonly to: MarkValue | undefined }
  | { readonly kind: 'set field'; readonly field: Field; readonly value: FieldValue }
  | { readonly kind: 'nat'; readonly verb: 'snat' | 'dnat'; readonly to: Destination; readonly options: NatOptions }
  | { readonly kind: 'redirect' | 'tproxy'; readonly port: Port }
  | { readonly kind: 'masquerade'; readonly options: NatOptions }
  | { readonly kind: 'reject'; readonly type: number; readonly code: number | undefined }
  /** Changes the elements of a set. @param timeoutMs undefined: that of the set */
  | {
      readonly kind: 'update'
      readonly do: 'add' | 'update' | 'delete'
      readonly set: string
      readonly key: Key
      readonly timeoutMs: number | undefined
    }
  | { readonly kind: 'counter'; readonly packets: bigint; readonly bytes: bigint }
  | { readonly kind: 'named counter'; readonly name: string }
  | { readonly kind: 'notrack' }
  /** An expression that we do not know, by its name. */
  | { readonly kind: 'other'; readonly name: string }

export type Clauses = readonly Clause[]

/** `from & mask ^ xor`; `from` undefined: the constant `xor`. */
export interface MarkValue {
  readonly from: Field | undefined
  readonly mask: number
  readonly xor: number
}
