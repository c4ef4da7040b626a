/** What a manifest file defines. */

import { describeKey, type KubeObject, keyOf } from '../../services/objects.ts'
import { parseObject } from '../../services/parse.ts'
import { type Problem, problem } from '../../services/problem.ts'
import { Turn } from '../turn.ts'
import { BrokenText, type Item } from './documents.ts'

export interface Manifest {
  readonly objects: readonly KubeObject[]
  readonly problems: readonly Problem[]
  /** The text is no YAML or JSON; there are no objects then, though the author meant some. */
  readonly broken: boolean
  /** What is in the file but not used, such as Deployments; some of it where it is much. */
  readonly ignored: readonly string[]
}

/** Of a file; what is beyond is counted. */
const mostProblems = 100

export function isManifestName(name: string): boolean {
  return !name.startsWith('.') && /\.(ya?ml|json)$/.test(name)
}

/** Gives way to other work every now and then. `file` is the name that problems use. */
export async function manifestOf(file: string, items: AsyncIterable<Item>): Promise<Manifest> {
  const objects = new Map<string, KubeObject>()
  const problems: Problem[] = []
  const ignored: string[] = []
  const turn = new Turn()
  try {
    for await (const { value, origin } of items) {
      const parsed = parseObject(value, origin)
      problems.push(...parsed.problems)
      if (parsed.ignored !== undefined && ignored.length < mostProblems) ignored.push(parsed.ignored)
      if (parsed.object) {
        const key = describeKey(keyOf(parsed.object))
        if (objects.has(key)) problems.push(definedTwice(key, origin))
        else objects.set(key, parsed.object)
      }
      await turn.give()
    }
  } catch (error) {
    if (!(error instanceof BrokenText)) throw error
    return { objects: [], problems: [brokenText(error)], broken: true, ignored: [] }
  }
  return { objects: [...objects.values()], problems: bounded(file, problems), broken: false, ignored }
}

function bounded(file: string, problems: readonly Problem[]): readonly Problem[] {
  if (problems.length <= mostProblems) return problems
  const rest = problems.length - mostProblems
  const remedy = 'what is wrong is left out; correct those that are named first'
  return [...problems.slice(0, mostProblems), problem('LP102', file, `it has ${rest} problems more`, remedy)]
}

function brokenText({ origin, message }: BrokenText): Problem {
  return problem('LP101', origin, message, 'what the file said before applies until it can be read again; correct it')
}

function definedTwice(key: string, origin: string): Problem {
  return problem('LP103', key, `${origin} defines it a second time`, 'the first definition applies; remove one')
}
