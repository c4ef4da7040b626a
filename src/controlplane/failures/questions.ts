/**
 * Which endpoints are in question: those that Kubernetes says are ready and some node finds failing. Namespaces share the
 * places for them. What a change costs does not depend on how many there are, or nodes: only groups that it touches, all
 * endpoints in question on a node, are judged again.
 */

import type { Sight } from '../../facts/failures.ts'
import { FairPlaces } from '../../observe/rates/fairplaces.ts'
import { Question, raisesQuestion } from './question.ts'
import type { ReadyEndpoints } from './readyendpoints.ts'

/** As many as are on two nodes. */
const mostQuestions = 256

type Sights = ReadonlyMap<string, Sight>
const noSights: Sights = new Map()

export class Questions {
  readonly #ready: Pick<ReadyEndpoints, 'find' | 'revision'>
  readonly #places = new FairPlaces(mostQuestions)
  /** By node. */
  readonly #sights = new Map<string, Sights>()
  /** By endpoint, the nodes that find it failing. */
  readonly #suspects = new Map<string, Set<string>>()
  readonly #open = new Map<string, Question>()
  readonly #groups = new Map<string, Set<Question>>()
  /** By node, the endpoints that it is asked about. */
  readonly #asked = new Map<string, Set<string>>()
  /** Groups to be judged again. */
  readonly #touched = new Set<string>()
  /** Suspects for which there may be a place. */
  readonly #candidates = new Set<string>()
  #revision = -1
  #isAskedChanged = false

  constructor(ready: Pick<ReadyEndpoints, 'find' | 'revision'>) {
    this.#ready = ready
  }

  get isEmpty(): boolean {
    return this.#open.size === 0
  }

  askedOf(node: string): readonly string[] {
    return [...(this.#asked.get(node) ?? [])]
  }

  group(name: string): ReadonlySet<Question> {
    return this.#groups.get(name) ?? new Set()
  }

  groupOf(endpoint: string): string {
    return groupNameOf(this.#open.get(endpoint)!)
  }

  /** Takes what a node sees in place of what it saw. */
  hear(node: string, sights: Sights): void {
    const before = this.#sights.get(node)
    if (!before) for (const question of this.#open.values()) question.join(node)
    this.#sights.set(node, sights)
    this.#compare(node, before ?? noSights, sights)
  }

  left(node: string): void {
    this.#compare(node, this.#sights.get(node) ?? noSights, noSights)
    for (const question of this.#open.values()) question.leave(node)
    this.#sights.delete(node)
    this.#asked.delete(node)
  }

  touchAll(): void {
    for (const name of this.#groups.keys()) this.#touched.add(name)
  }

  /**
   * Opens and closes questions, and chooses whom to ask about those that were touched.
   * @returns the groups to be judged, which stay so until `judged`, and whether somebody is asked something else
   */
  update(speaking: ReadonlySet<string>): { readonly groups: ReadonlySet<string>; readonly isAskedChanged: boolean } {
    if (this.#ready.revision !== this.#revision) this.#lookAgain()
    for (const endpoint of this.#candidates) this.#tryToOpen(endpoint)
    this.#candidates.clear()
    for (const name of this.#touched) for (const question of this.group(name)) this.#choose(question, speaking)
    const isAskedChanged = this.#isAskedChanged
    this.#isAskedChanged = false
    return { groups: this.#touched, isAskedChanged }
  }

  judged(): void {
    this.#touched.clear()
  }

  #compare(node: string, before: Sights, after: Sights): void {
    for (const endpoint of new Set([...before.keys(), ...after.keys()])) {
      const sight = after.get(endpoint)
      if (before.get(endpoint)?.seen === sight?.seen) continue
      this.#suspect(node, endpoint, raisesQuestion(sight))
      const question = this.#open.get(endpoint)
      if (!question) continue
      question.hear(node, sight)
      this.#touched.add(groupNameOf(question))
    }
  }

  #suspect(node: string, endpoint: string, does: boolean): void {
    const nodes = this.#suspects.get(endpoint) ?? new Set()
    if (does) {
      nodes.add(node)
      this.#suspects.set(endpoint, nodes)
      if (!this.#open.has(endpoint)) this.#candidates.add(endpoint)
    } else if (nodes.delete(node) && nodes.size === 0) {
      this.#suspects.delete(endpoint)
      this.#close(endpoint)
    }
  }

  #lookAgain(): void {
    this.#revision = this.#ready.revision
    for (const question of this.#open.values()) {
      const found = this.#ready.find(question.endpoint)
      if (!found) this.#close(question.endpoint)
      else if (found.node !== question.node) {
        this.#ungroup(question)
        question.node = found.node
        this.#group(question)
      }
    }
    this.#reconsider()
  }

  #tryToOpen(endpoint: string): void {
    const found = this.#suspects.has(endpoint) ? this.#ready.find(endpoint) : undefined
    if (!found) return
    if (!this.#takePlace(endpoint, found.namespace)) return
    const question = new Question(endpoint, found.node)
    for (const [node, sights] of this.#sights) {
      question.join(node)
      question.hear(node, sights.get(endpoint))
    }
    this.#open.set(endpoint, question)
    this.#group(question)
  }

  /** Where all places are taken, what several nodes find failing gets that of what a single one does, which may lie. */
  #takePlace(endpoint: string, namespace: string): boolean {
    const { isTaken, instead } = this.#places.take(endpoint, namespace)
    if (instead !== undefined) this.#end(instead)
    if (isTaken || !this.#isSharedDoubt(endpoint)) return isTaken
    const single = [...this.#open.keys()].findLast(one => !this.#isSharedDoubt(one))
    if (single === undefined) return false
    this.#places.leave(single)
    this.#end(single)
    return this.#places.take(endpoint, namespace).isTaken
  }

  #isSharedDoubt(endpoint: string): boolean {
    return (this.#suspects.get(endpoint)?.size ?? 0) > 1
  }

  #close(endpoint: string): void {
    if (!this.#open.has(endpoint)) return
    this.#places.leave(endpoint)
    this.#end(endpoint)
    this.#reconsider()
  }

  #end(endpoint: string): void {
    const question = this.#open.get(endpoint)!
    this.#open.delete(endpoint)
    this.#ungroup(question)
    this.#ask(question, question.chosen.asked, new Set())
  }

  /** There may be a place for others now. */
  #reconsider(): void {
    for (const endpoint of this.#suspects.keys()) if (!this.#open.has(endpoint)) this.#candidates.add(endpoint)
  }

  #choose(question: Question, speaking: ReadonlySet<string>): void {
    const before = question.chosen.asked
    this.#ask(question, before, question.choose(speaking).asked)
  }

  #ask({ endpoint }: Question, before: ReadonlySet<string>, after: ReadonlySet<string>): void {
    for (const node of before) {
      if (!after.has(node) && this.#asked.get(node)?.delete(endpoint)) this.#isAskedChanged = true
    }
    for (const node of after) {
      if (before.has(node)) continue
      const asked = this.#asked.get(node)
      if (asked) asked.add(endpoint)
      else this.#asked.set(node, new Set([endpoint]))
      this.#isAskedChanged = true
    }
  }

  #group(question: Question): void {
    const name = groupNameOf(question)
    const group = this.#groups.get(name)
    if (group) group.add(question)
    else this.#groups.set(name, new Set([question]))
    this.#touched.add(name)
  }

  #ungroup(question: Question): void {
    const name = groupNameOf(question)
    const group = this.#groups.get(name)!
    group.delete(question)
    if (group.size === 0) this.#groups.delete(name)
    this.#touched.add(name)
  }
}

function groupNameOf({ node, endpoint }: Question): string {
  return node === undefined ? `endpoint ${endpoint}` : nodeGroup(node)
}

export function nodeGroup(node: string): string {
  return `node ${node}`
}
