/** Reads one document of YAML as kubectl does: a repeated key and text that is indented too little are no faults. */

import { CORE_SCHEMA, loadAll, mergeTag, YAMLException } from 'js-yaml'

export interface YamlFlaw {
  /** Line of the text, from 0. */
  readonly line: number
  /** The reason, without a word of the text. */
  readonly reason: string
  readonly isBroken: boolean
}

export interface YamlContent {
  /** One value, or none where the text is blank or broken; several where `...` ends them. */
  readonly values: readonly unknown[]
  readonly flaws: readonly YamlFlaw[]
}

const schema = CORE_SCHEMA.withTags(mergeTag)
/** How many lines are mended, each of which reads the document again. */
const mostMended = 100
/** Per character of the text. */
const mostNodes = 10

export function readYaml(text: string): YamlContent {
  try {
    const { values, repeated } = readLeniently(text)
    // The text has room for no more nodes without an alias than this.
    if (text.includes('*') && values.some(value => nodesOf(value) > mostNodes * text.length)) {
      return broken(0, 'its aliases multiply it beyond measure, or one is within itself')
    }
    const reason = 'a key of a mapping is repeated'
    return { values, flaws: repeated === undefined ? [] : [{ line: repeated, reason, isBroken: false }] }
  } catch (error) {
    if (!(error instanceof YAMLException)) throw error
    return broken(lineOf(error), `it is no YAML: ${inWords(error)}`)
  }
}

function broken(line: number, reason: string): YamlContent {
  return { values: [], flaws: [{ line, reason, isBroken: true }] }
}

/** @throws YAMLException */
function readLeniently(given: string): { readonly values: readonly unknown[]; readonly repeated: number | undefined } {
  let text = given
  let repeated: number | undefined
  for (let mended = 0; ; mended++) {
    try {
      return { values: loadAll(text, { schema, json: repeated !== undefined }), repeated }
    } catch (error) {
      if (!(error instanceof YAMLException) || mended === mostMended) throw error
      if (error.reason.includes('duplicated mapping key')) repeated = lineOf(error)
      else if (error.reason.includes('deficient indentation')) text = indented(text, lineOf(error))
      else throw error
    }
  }
}

/** Deeper than anything around it. */
const deep = ' '.repeat(256)

/**
 * In quoted text and flow collections, the only places with too little indentation, spaces before a line mean nothing.
 */
function indented(text: string, line: number): string {
  const lines = text.split('\n')
  lines[line] = deep + lines[line]!.trimStart()
  return lines.join('\n')
}

function lineOf({ mark }: YAMLException): number {
  return mark?.line ?? 0
}

/** The library's reasons end with what they quote. */
function inWords({ reason }: YAMLException): string {
  return reason.replace(/\s*(["!]|such characters).*/s, '')
}

/** Counts the nodes of a value, those behind an alias each time; infinite where one is within itself. */
function nodesOf(value: unknown, known = new Map<object, number>()): number {
  if (typeof value !== 'object' || value === null) return 1
  const before = known.get(value)
  if (before !== undefined) return before
  known.set(value, Number.POSITIVE_INFINITY)
  let nodes = 1
  for (const part of Object.values(value)) nodes += nodesOf(part, known)
  known.set(value, nodes)
  return nodes
}
