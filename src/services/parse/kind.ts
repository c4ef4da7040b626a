/** The parts that the parsers of the kinds share. */

import { type Raw, show } from '../../text/raw.ts'
import type { KubeObject } from '../objects/objects.ts'
import type { ProblemCode } from '../problem.ts'

/** Reports what is wrong in the object, and what applies instead. */
export type Report = (code: ProblemCode, reason: string, remedy: string) => void

export interface Metadata {
  /** '' for cluster-scoped kinds. */
  readonly namespace: string
  readonly name: string
  /** Undefined where the object does not say, as in manifests. */
  readonly uid: string | undefined
  readonly labels: Raw
  readonly annotations: Raw
  /** Milliseconds since the epoch; far in the future where the object does not say. */
  readonly created: number
}

/**
 * The result of a kind's own function: the object, or why there is none (after a report, or because it is not for us).
 */
export type ParsedKind = { readonly object?: KubeObject; readonly ignored?: string }

const label = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/
const subdomain = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/

/** RFC 1123, as Kubernetes checks names of objects and of ports. */
export function isName(text: string, is: 'label' | 'subdomain'): boolean {
  return (is === 'label' ? label : subdomain).test(text)
}

/** Picks the labels or annotations that are used, those whose keys `isUsed` chooses. Their values must be text. */
export function usedTexts(
  what: 'label' | 'annotation',
  texts: Raw,
  isUsed: (key: string) => boolean,
  report: Report,
): Readonly<Record<string, string>> {
  let used: Record<string, string> | undefined
  for (const key in texts) {
    if (!isUsed(key)) continue
    const value = texts[key]
    if (typeof value === 'string') {
      used ??= {}
      used[key] = value
    } else {
      const code = what === 'label' ? 'LP102' : 'LP202'
      report(code, `${what} ${key}: ${show(value)} is no text`, `the ${what} is left out; write its value in quotes`)
    }
  }
  return used ?? none
}

const none: Readonly<Record<string, string>> = Object.freeze({})
