/** Finds what a manifest file defines. */

import { describeKey, type KubeObject, keyOf } from '../../services/objects/objects.ts'
import { parseObject } from '../../services/parse/parse.ts'
import { type Problem, problem } from '../../services/problem.ts'
import { isAbsent, type Raw, rawList, rawObject } from '../../text/raw.ts'
import { isTurnOver, nextTurn } from '../../worker/turns.ts'
import type { Flaw, Piece } from './documents.ts'

export interface Manifest {
  readonly objects: readonly KubeObject[]
  readonly problems: readonly Problem[]
  /** A document is no YAML or JSON: its author meant more objects than there are. */
  readonly broken: boolean
  /** Ignored parts of the file, such as Deployments; some of them where there are many. */
  readonly ignored: readonly string[]
}

/** How many problems of a file are kept; the rest is counted. */
const mostProblems = 100

export function isManifestName(name: string): boolean {
  return !name.startsWith('.') && /\.(ya?ml|json)$/.test(name)
}

/** Gives way to other work every now and then. `file` is the name for problems. */
export async function manifestOf(file: string, pieces: AsyncIterable<Piece>): Promise<Manifest> {
  const objects = new Map<string, KubeObject>()
  const problems: Problem[] = []
  const ignored: string[] = []
  let broken = false
  for await (const piece of pieces) {
    if ('flaw' in piece) {
      broken ||= piece.isBroken
      problems.push(flawed(piece))
      continue
    }
    const parsed = parseObject(piece.value, piece.origin)
    problems.push(...parsed.problems)
    if (parsed.ignored !== undefined && ignored.length < mostProblems) ignored.push(parsed.ignored)
    if (parsed.object) {
      const key = describeKey(keyOf(parsed.object))
      if (objects.has(key)) problems.push(definedTwice(key, piece.origin))
      else objects.set(key, parsed.object)
      if (parsed.object.kind === 'Service' && lacksVip(rawObject(piece.value))) problems.push(withoutVip(key))
    }
    if (isTurnOver()) await nextTurn()
  }
  return { objects: [...objects.values()], problems: bounded(file, problems), broken, ignored }
}

/** In a cluster the API server assigns an address where a Service names none. */
function lacksVip({ spec }: Raw): boolean {
  const { type, clusterIP, clusterIPs } = rawObject(spec)
  const isNamed = !isAbsent(clusterIP) && clusterIP !== ''
  return type !== 'ExternalName' && !isNamed && rawList(clusterIPs).length === 0
}

function withoutVip(key: string): Problem {
  const remedy = 'it is not served; write the address that clients use, or None for a headless Service'
  return problem('LP102', key, 'spec.clusterIP is missing, which only an API server assigns', remedy)
}

/** Thousands of files have no problem, and share this. */
const none: readonly Problem[] = []

function bounded(file: string, problems: readonly Problem[]): readonly Problem[] {
  if (problems.length === 0) return none
  if (problems.length <= mostProblems) return problems
  const rest = problems.length - mostProblems
  const remedy = 'what is wrong is left out; correct those that are named first'
  return [...problems.slice(0, mostProblems), problem('LP102', file, `it has ${rest} problems more`, remedy)]
}

function flawed({ origin, flaw, isBroken }: Flaw): Problem {
  if (!isBroken) return problem('LP102', origin, flaw, 'the last one applies, as for kubectl; remove the others')
  return problem('LP101', origin, flaw, 'this document is left out, and the others of the file apply; correct it')
}

function definedTwice(key: string, origin: string): Problem {
  return problem('LP103', key, `${origin} defines it a second time`, 'the first definition applies; remove one')
}
