/** One manifest file: its text in YAML or JSON, with one or more documents, to the objects that it defines. */

import { describeKey, type KubeObject, keyOf } from '../services/objects.ts'
import { listItems, parseObject } from '../services/parse.ts'
import { type Problem, problem } from '../services/problem.ts'
import { Turn } from './turn.ts'

export interface Manifest {
  readonly objects: readonly KubeObject[]
  readonly problems: readonly Problem[]
  /** The text is no YAML or JSON; there are no objects then, though the author meant some. */
  readonly broken: boolean
  /** What is in the file but not used, such as Deployments. */
  readonly ignored: readonly string[]
}

const byteOrderMark = /^\uFEFF/

export function isManifestName(name: string): boolean {
  return !name.startsWith('.') && /\.(ya?ml|json)$/.test(name)
}

/** `file` is the name that problems use. Gives way to other work every now and then while it reads a long text. */
export async function parseManifest(file: string, text: string): Promise<Manifest> {
  const objects = new Map<string, KubeObject>()
  const problems: Problem[] = []
  const ignored: string[] = []
  const turn = new Turn()
  const documents = file.endsWith('.json') ? jsonDocuments(file, text) : yamlDocuments(file, text)
  try {
    for await (const { value, origin } of documents) {
      for (const item of listItems(value)) {
        const parsed = parseObject(item, origin)
        problems.push(...parsed.problems)
        if (parsed.ignored !== undefined) ignored.push(parsed.ignored)
        if (!parsed.object) continue
        const key = describeKey(keyOf(parsed.object))
        if (objects.has(key)) problems.push(definedTwice(key, origin))
        else objects.set(key, parsed.object)
        await turn.give()
      }
    }
  } catch (error) {
    if (!(error instanceof ManifestError)) throw error
    return { objects: [], problems: [error.problem], broken: true, ignored: [] }
  }
  return { objects: [...objects.values()], problems, broken: false, ignored }
}

class ManifestError extends Error {
  readonly problem: Problem

  constructor(origin: string, reason: string) {
    super(reason)
    const remedy = 'what the file said before applies until it can be read again; correct it'
    this.problem = problem('LP101', origin, reason.split('\n')[0]!, remedy)
  }
}

function definedTwice(key: string, origin: string): Problem {
  return problem('LP103', key, `${origin} defines it a second time`, 'the first definition applies; remove one')
}

interface Document {
  readonly value: unknown
  /** The file with the line where the document begins. */
  readonly origin: string
}

function* jsonDocuments(file: string, text: string): Generator<Document> {
  const json = text.replace(byteOrderMark, '')
  if (json.trim() === '') return
  try {
    yield { value: JSON.parse(json), origin: file }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    const position = /at position (\d+)/.exec(error.message)?.[1]
    const before = json.slice(0, position === undefined ? json.trimEnd().length : Number(position))
    throw new ManifestError(`${file}:${before.split('\n').length}`, error.message)
  }
}

/** Document by document, so that only one is in memory as the library's syntax tree, many times the size of its text. */
async function* yamlDocuments(file: string, text: string): AsyncGenerator<Document> {
  const { Composer, LineCounter, Parser } = await import('yaml')
  const lines = new LineCounter()
  const composer = new Composer()
  const at = (offset: number) => `${file}:${Math.max(1, lines.linePos(offset).line)}`
  for (const document of composer.compose(new Parser(lines.addNewLine).parse(text.replace(byteOrderMark, '')))) {
    const [error] = document.errors
    if (error) throw new ManifestError(at(error.pos[0]), error.message)
    const origin = at(document.contents?.range?.[0] ?? document.range[0])
    const value = detached(document, origin)
    // An empty document, as between two `---`, is none.
    if (value !== null) yield { value, origin }
  }
}

/** The library's texts are slices that keep the whole file in memory; going through JSON cuts them loose. */
function detached(document: { toJS(): unknown }, origin: string): unknown {
  try {
    return JSON.parse(JSON.stringify(document.toJS()) ?? 'null')
  } catch (error) {
    // Aliases without an anchor, within themselves, or multiplied beyond measure.
    throw new ManifestError(origin, (error as Error).message)
  }
}
