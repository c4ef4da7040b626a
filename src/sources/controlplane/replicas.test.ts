import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FactStore } from '../../controlplane/knowledge/factstore.ts'
import { Subscriber } from '../../controlplane/subscriber.ts'
import { readFacts } from '../../facts/told.ts'
import { everything, type FactType, inNamespace, nameOf, ofNode, scopesOf, typeOf } from '../../facts/types.ts'
import type { Pod } from '../../services/objects/networkpolicy.ts'
import { type Change, describeKey, type KubeObject, keyOf } from '../../services/objects/objects.ts'
import type { Service } from '../../services/objects/service.ts'
import { aPod, aService } from '../../services/testing.ts'
import { MergedFacts, type Scopes } from './mergedfacts.ts'
import { StagedFacts } from './stagedfacts.ts'

/** An event of the API server; its version follows from its place in the history. */
interface Event {
  readonly key: string
  /** Undefined where it was deleted. */
  readonly object: KubeObject | undefined
}

/** The version after so many events: small, so that numbers of one digit and of two meet. */
const versionAfter = (events: number) => String(events + 3)

/** What exists after the first so many events: objects with the versions of their last events. */
function existing(history: readonly Event[], upTo: number): Map<string, { object: KubeObject; version: number }> {
  const found = new Map<string, { object: KubeObject; version: number }>()
  history.slice(0, upTo).forEach(({ key, object }, index) => {
    if (object) found.set(key, { object, version: index + 1 })
    else found.delete(key)
  })
  return found
}

/** A process that follows the API server: a replica of the control plane, or the agent by itself. */
class Follower {
  readonly #history: readonly Event[]
  readonly #tell: (changes: readonly Change[], version: string) => void
  readonly #objects = new Map<string, KubeObject>()
  seen: number

  constructor(history: readonly Event[], at: number, tell: (changes: readonly Change[], version: string) => void) {
    this.#history = history
    this.#tell = tell
    this.seen = at
    const listed = [...existing(history, at)]
    for (const [key, { object }] of listed) this.#objects.set(key, object)
    this.#tell(
      listed.map(([, { object, version }]) => ({ type: 'put', object, version: versionAfter(version) })),
      versionAfter(at),
    )
  }

  /** Sees so many more events, together; like the source it says nothing of those without news. */
  follow(events: number): void {
    const changes: Change[] = []
    for (const { key, object } of this.#history.slice(this.seen, this.seen + events)) {
      this.seen++
      const before = this.#objects.get(key)
      if (object && object !== before) changes.push({ type: 'put', object, version: versionAfter(this.seen) })
      if (!object && before) changes.push({ type: 'remove', key: keyOf(before) })
      if (object) this.#objects.set(key, object)
      else this.#objects.delete(key)
    }
    this.#tell(changes, versionAfter(this.seen))
  }
}

const types: readonly FactType[] = ['Service', 'Pod']

class Replica {
  readonly streams = new Set<Subscriber>()
  readonly #store = new FactStore((type, name, scopes) => {
    for (const stream of this.streams) stream.changed(type, name, scopes)
  })
  readonly follower: Follower

  constructor(history: readonly Event[], at: number) {
    this.follower = new Follower(history, at, (changes, version) => {
      this.#store.apply(changes)
      for (const type of types) this.#store.progress(type, version)
    })
  }

  connect(): Subscriber {
    const stream = new Subscriber(this.#store)
    this.streams.add(stream)
    return stream
  }
}

const scopes: Scopes = new Map<FactType, ReadonlySet<string>>([
  ['Service', new Set([everything])],
  ['Pod', new Set([ofNode('node1'), inNamespace('shop')])],
])

function isWanted(object: KubeObject): boolean {
  return scopesOf(object).some(scope => scopes.get(typeOf(object.kind))!.has(scope))
}

/** An agent that checks each change that its source would report. */
class Agent {
  readonly #merged = new MergedFacts()
  readonly #history: readonly Event[]
  readonly view = new Map<string, KubeObject>()
  /** The place in the history of what was reported last of an object, at the least. */
  readonly #places = new Map<string, number>()
  #stream: Subscriber | undefined
  #staged: StagedFacts | undefined
  #direct: Follower | undefined

  constructor(history: readonly Event[]) {
    this.#history = history
  }

  /** Goes on with what it reads until the replica has told everything. */
  goTo(replica: Replica): void {
    this.#stream = replica.connect()
    this.#staged = new StagedFacts(scopes, this.#merged)
    for (const [type, ofType] of scopes) {
      const initialVersions = this.#staged.versions(type)
      this.#stream.request({ type, subscribe: [...ofType], initialVersions, nonce: '' })
    }
  }

  /** Lists and watches from this version on. A stream that has not told everything yet goes on. */
  goToApiServer(at: number): void {
    if (!this.#staged) this.#stream = undefined
    this.#merged.begin(scopes)
    this.#direct = new Follower(this.#history, at, (changes, version) => {
      for (const change of changes) this.#takeDirect(change)
      for (const [type, ofType] of scopes) for (const scope of ofType) this.#merged.complete(type, scope, version)
    })
    this.#check()
  }

  #takeDirect(change: Change): void {
    const key = change.type === 'put' ? keyOf(change.object) : change.key
    const type = typeOf(key.kind)
    if (change.type === 'remove') this.#merged.remove(type, nameOf(key))
    else if (isWanted(change.object)) this.#merged.put(type, nameOf(key), change.version!, change.object)
    // The watch of a node's Pods says that one is gone when it is another node's.
    else this.#merged.remove(type, nameOf(key))
  }

  /** Takes one response, or sees some events. */
  listen(events: number): boolean {
    this.#direct?.follow(events)
    const response = this.#stream?.next(true)
    if (response) {
      const told = readFacts(response)
      assert.deepEqual(told.unreadable, [])
      if (this.#staged) this.#staged.take(told)
      else this.#merged.take(told)
      if (this.#staged?.isComplete) {
        this.#direct = undefined
        this.#staged.mergeInto(this.#merged)
        this.#staged = undefined
      }
      this.#stream!.request({ type: told.type, subscribe: [], initialVersions: {}, nonce: told.nonce })
    }
    this.#check()
    return response !== undefined
  }

  get isComplete(): boolean {
    return this.#merged.isComplete
  }

  #check(): void {
    for (const change of this.#merged.takeChanges()) {
      const key = describeKey(change.type === 'put' ? keyOf(change.object) : change.key)
      const place = this.#places.get(key) ?? -1
      const after = change.type === 'put' ? change.object : undefined
      const at = this.#history.findIndex((event, index) => {
        if (index <= place || event.key !== key) return false
        if (after) return event.object !== undefined && contentOf(event.object) === contentOf(after)
        // Of what the agent follows it is gone also as another node's.
        return event.object === undefined || !isWanted(event.object)
      })
      assert.notEqual(at, -1, `${change.type} ${key} undoes what was told`)
      const before = this.view.get(key)
      if (after) {
        assert.ok(before === undefined || contentOf(before) !== contentOf(after), `put ${key} says nothing new`)
        this.view.set(key, after)
      } else {
        assert.ok(this.view.delete(key), `remove ${key} of what was not there`)
      }
      this.#places.set(key, at)
    }
  }
}

/** Each new content is another one. */
function contentOf(object: KubeObject): string {
  return (object as Service | Pod).labels.content!
}

type Write = { readonly object: number; readonly what: 'write' | 'touch' | 'delete' }

/** Names that meet, and a Pod that goes from one node to another. */
function historyOf(writes: readonly Write[]): readonly Event[] {
  const last = new Map<string, KubeObject>()
  return writes.map(({ object: which, what }, index) => {
    const labels = { content: String(index) }
    const made: KubeObject =
      which < 3
        ? aService({ namespace: 'shop', name: `service${which}`, labels })
        : aPod(`pod${which}`, '10.0.0.1', {
            namespace: which === 3 ? 'shop' : 'other',
            nodeName: which === 4 && index % 2 === 0 ? 'node2' : 'node1',
            labels,
          })
    const key = describeKey(keyOf(made))
    const before = last.get(key)
    const object = what === 'delete' ? undefined : what === 'touch' ? (before ?? made) : made
    if (object) last.set(key, object)
    else last.delete(key)
    return { key, object }
  })
}

const anyWrite = fc.record<Write>({
  object: fc.constantFrom(0, 1, 3, 4, 4, 5),
  what: fc.constantFrom('write', 'write', 'touch', 'delete', 'delete'),
})
const some = fc.integer({ min: 1, max: 4 })
const anyStep = fc.oneof(
  { arbitrary: fc.record({ step: fc.constant('follow' as const), replica: fc.nat(2), events: some }), weight: 2 },
  { arbitrary: fc.record({ step: fc.constant('listen' as const), replica: fc.nat(2), events: some }), weight: 4 },
  { arbitrary: fc.record({ step: fc.constant('restart' as const), replica: fc.nat(2), events: some }), weight: 1 },
  { arbitrary: fc.record({ step: fc.constant('move' as const), replica: fc.nat(3), events: some }), weight: 1 },
)

test('whatever replicas have seen and however an agent moves, nothing told is undone, and nothing is missed', () => {
  fc.assert(
    fc.property(
      fc.array(anyWrite, { minLength: 10, maxLength: 40 }),
      fc.array(fc.nat(8), { minLength: 3, maxLength: 3 }),
      fc.array(anyStep, { minLength: 10, maxLength: 80, size: 'max' }),
      fc.boolean(),
      (writes, starts, steps, endsAtApiServer) => {
        const history = historyOf(writes)
        const all = history.length
        const replicas = starts.map(at => new Replica(history, at))
        const agent = new Agent(history)
        agent.goTo(replicas[0]!)
        for (const { step, replica: index, events } of steps) {
          const replica = replicas[index]
          if (step === 'listen') agent.listen(events)
          else if (step === 'follow') replica!.follower.follow(events)
          else if (step === 'restart') {
            // It lists what there is: no less than it had seen.
            replicas[index] = new Replica(history, Math.min(all, replica!.follower.seen + events))
          } else if (replica) agent.goTo(replica)
          // An API server may be behind, too.
          else agent.goToApiServer(replicas[events % 3]!.follower.seen)
        }
        if (endsAtApiServer) agent.goToApiServer(all)
        else {
          agent.goTo(replicas[0]!)
          for (let i = 0; i < 3; i++) agent.listen(1)
          replicas[0]!.follower.follow(all)
          for (let i = 0; i < 100 && agent.listen(1); i++);
        }
        assert.ok(agent.isComplete)
        const expected = [...existing(history, all)].filter(([, { object }]) => isWanted(object))
        assert.deepEqual(
          [...agent.view].map(([key, object]) => [key, contentOf(object)]).sort(),
          expected.map(([key, { object }]) => [key, contentOf(object)]).sort(),
        )
      },
    ),
    { numRuns: 600 },
  )
})
