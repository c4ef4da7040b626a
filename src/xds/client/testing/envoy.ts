/** A client that behaves as Envoy 1.40 does, a small model of it, for tests of the state machine. */

import assert from 'node:assert/strict'
import { type ResourceRef, type TypeUrl, typeUrls } from '../../../envoy/resource.ts'
import type { EncodedResource, Response } from '../../response.ts'
import type { Client } from '../client.ts'
import type { Nack, Request } from '../messages.ts'
import { completes, contentOf, requirementsOf, resourcesIn } from './resource.ts'

const { cluster, endpoints, filter, listener, route, scope } = typeUrls

interface Held {
  readonly version: string
  readonly requires: readonly ResourceRef[]
  /** It asks for the route of its name, once it has its filter where it has one. */
  readonly route: boolean
  readonly filter: boolean
}

export class ModelEnvoy {
  readonly has = new Map<TypeUrl, Map<string, Held>>(Object.values(typeUrls).map(typeUrl => [typeUrl, new Map()]))
  /** What Envoy would list on reconnecting: it does not remember what came in a response that it rejected. */
  readonly #memoize = new Map<TypeUrl, Map<string, string>>(
    Object.values(typeUrls).map(typeUrl => [typeUrl, new Map()]),
  )
  readonly #subscribed = new Map<TypeUrl, Set<string>>([
    [endpoints, new Set()],
    [filter, new Set()],
    [route, new Set()],
  ])
  /** Once a listener has asked for them, Envoy stays subscribed to all of them, even if no such listener is left. */
  #wantsScopes = false
  readonly #warming = new Set<string>()
  /** Clusters that Envoy made anew and that have got no endpoints since. */
  readonly bare = new Set<string>()
  /** What came in rejected responses: the server cannot know whether it is in effect, and whether Envoy waits. */
  readonly #doubtful = new Set<string>()
  /** The version of each filter that came last, also of one that was rejected for its meaning. */
  readonly #lastFilters = new Map<string, string>()
  /** Listeners that are in service without their filter: they ask for no routes, also once it has come. */
  readonly early = new Set<string>()
  /** Requests of a paused type: while clusters warm, Envoy sends nothing about clusters. */
  #held: Request[] = []
  readonly requests: Request[] = []
  readonly inbox: Response[] = []
  readonly unanswered = new Set<TypeUrl>()
  received = 0
  #connections = 0

  connect(): void {
    this.#connections++
    this.requests.length = 0
    this.inbox.length = 0
    this.#held = []
    this.unanswered.clear()
    for (const typeUrl of [cluster, endpoints, listener, filter, route, scope]) {
      const names = [...(this.#subscribed.get(typeUrl) ?? [])]
      if (this.#subscribed.has(typeUrl) && names.length === 0) continue
      if (typeUrl === scope && !this.#wantsScopes) continue
      this.#say(typeUrl, { subscribe: names, initialVersions: Object.fromEntries(this.#memoize.get(typeUrl)!) })
    }
  }

  wants(typeUrl: TypeUrl, name: string): boolean {
    return this.#subscribed.get(typeUrl)?.has(name) ?? true
  }

  version({ typeUrl, name }: ResourceRef): string | undefined {
    return this.has.get(typeUrl)?.get(name)?.version
  }

  /** Envoy has this from a response that it rejected for something else, and will not list it after a reconnect. */
  hasForgotten(ref: ResourceRef): boolean {
    return this.version(ref) !== this.#memoize.get(ref.typeUrl)!.get(ref.name)
  }

  /** What Envoy has that requires this. */
  usersOf({ typeUrl, name }: ResourceRef): ResourceRef[] {
    return [...this.has].flatMap(([userType, held]) =>
      [...held]
        .filter(([, { requires }]) => requires.some(ref => ref.typeUrl === typeUrl && ref.name === name))
        .map(([user]) => ({ typeUrl: userType, name: user })),
    )
  }

  /** Checks that the response may be sent: `client` is what the server believes. */
  deliver(response: Response, client: Client): void {
    for (const { typeUrl, name, required } of requirementsOf(response)) {
      assert(client.acknowledgedVersion(required) !== undefined, `${typeUrl} ${name} sent before ${required.typeUrl}`)
    }
    assert(!this.unanswered.has(response.typeUrl), `two responses of ${response.typeUrl} in flight`)
    this.unanswered.add(response.typeUrl)
    this.inbox.push(response)
  }

  /** Takes one response, and checks that it breaks nothing; `refused` is what Envoy rejected. */
  receive(nacked: readonly Nack[]): void {
    const response = this.inbox.shift()
    if (!response) return
    this.received += response.put.length + response.remove.length
    this.#checkOrder(response, nacked)
    const error = this.#apply(response)
    if (!error) this.#remember(response)
    else for (const { name } of resourcesIn(response)) this.#doubtful.add(name)
    this.unanswered.delete(response.typeUrl)
    this.#say(response.typeUrl, { nonce: response.nonce, error })
    this.#resume()
  }

  /** Envoy gives up waiting for endpoints after 15 s. */
  timeOut(): boolean {
    if (this.#warming.size === 0) return false
    this.#warming.clear()
    this.#resume()
    return true
  }

  /** Removed listeners have ended their connections: until then Envoy keeps their filters. */
  endDrains(): void {
    for (const name of [...this.#subscribed.get(filter)!]) {
      if (!this.has.get(listener)!.has(name)) this.#unsubscribe(filter, name)
    }
  }

  #checkOrder(response: Response, nacked: readonly Nack[]): void {
    const { typeUrl, remove } = response
    const names = [...resourcesIn(response).map(({ name }) => name), ...remove]
    assert.equal(new Set(names).size, names.length, 'a name twice in a response')
    for (const { name, required } of requirementsOf(response)) {
      assert(this.has.get(required.typeUrl)!.has(required.name), `${typeUrl} ${name} requires what Envoy does not have`)
    }
    const isNacked = (ref: ResourceRef) =>
      nacked.some(nack => nack.ref.typeUrl === ref.typeUrl && nack.ref.name === ref.name)
    for (const name of remove) {
      // What Envoy rejected but waits for is declared gone, so that it waits no longer.
      if (isNacked({ typeUrl, name }) || !this.has.get(typeUrl)!.has(name)) continue
      assert(typeUrl !== filter, `${name} removed, which a listener that comes again would lack`)
      // So are endpoints that are no more, when Envoy waits for them, or may.
      if (typeUrl === endpoints && (this.bare.has(name) || this.#doubtful.has(name))) continue
      // What a resource from before a reconnect requires is not known; it holds nothing once its successor is rejected.
      // The endpoints of a cluster end with it, at the latest.
      const users = this.usersOf({ typeUrl, name })
        .filter(user => completes.get(user.typeUrl) !== typeUrl)
        .filter(user => this.#connections === 1 || !(isNacked(user) || this.hasForgotten(user)))
      assert.deepEqual(users, [], `${typeUrl} ${name} removed before what requires it`)
    }
  }

  #apply({ typeUrl, put, remove }: Response): string | undefined {
    if (put.some(encoded => contentOf(encoded).quality === 'broken')) {
      this.#waitNoLonger(typeUrl)
      return `Unable to unpack as ${typeUrl}`
    }
    const isNamed = this.#subscribed.has(typeUrl)
    // Scopes are checked together before any of them is taken.
    if (typeUrl === scope && put.some(encoded => contentOf(encoded).quality === 'bad')) {
      return 'Error adding/updating scoped route(s): scope key conflict'
    }
    for (const name of remove) this.#remove(typeUrl, name)
    const complaints: string[] = []
    for (const encoded of put) {
      if (typeUrl === filter && this.#isLastFilter(encoded)) continue
      if (contentOf(encoded).quality === 'good') this.#put(encoded)
      else complaints.push(`${encoded.resource.name}: no good`)
      // Of named subscriptions the first error ends the whole update.
      if (isNamed && complaints.length > 0) {
        this.#waitNoLonger(typeUrl)
        return 'malformed IP address: x'
      }
    }
    if (complaints.length === 0) return undefined
    return typeUrl === cluster
      ? `Error adding/updating cluster(s) ${complaints.join(', ')}`
      : `Error adding/updating listener(s) ${complaints.map(text => `${text}\n`).join('')}`
  }

  /** One that is rejected ends the wait for every other of its type. */
  #waitNoLonger(typeUrl: TypeUrl): void {
    if (typeUrl === endpoints) this.#warming.clear()
    if (typeUrl !== filter) return
    for (const name of this.#subscribed.get(filter)!) {
      if (this.has.get(listener)!.get(name)?.filter && !this.has.get(filter)!.has(name)) this.early.add(name)
    }
  }

  /** Envoy compares before it looks, and so accepts what it has rejected. */
  #isLastFilter({ resource: { name, version } }: EncodedResource): boolean {
    const isLast = this.#lastFilters.get(name) === version
    if (this.#subscribed.get(filter)!.has(name)) this.#lastFilters.set(name, version)
    return isLast
  }

  #put(encoded: EncodedResource): void {
    const { typeUrl, name, version, requires } = encoded.resource
    const subscribed = this.#subscribed.get(typeUrl)
    if (subscribed && !subscribed.has(name)) return
    const before = this.has.get(typeUrl)!.get(name)
    const content = contentOf(encoded)
    if (typeUrl === listener && before?.version !== version) this.early.delete(name)
    this.has.get(typeUrl)!.set(name, {
      version,
      // A scope leads wherever its route does, which may change without it.
      requires: typeUrl === scope ? requires.filter(required => required.typeUrl === listener) : requires,
      route: typeUrl === scope || content.route === true,
      filter: content.filter === true,
    })
    if (typeUrl === endpoints) {
      this.#warming.delete(name)
      this.bare.delete(name)
    }
    if (typeUrl === cluster && before?.version !== version) {
      this.#warming.add(name)
      this.bare.add(name)
      this.#subscribe(endpoints, name)
    }
    if (typeUrl === listener && content.filter) this.#subscribe(filter, name)
    if (typeUrl === listener && content.scopes && !this.#wantsScopes) {
      this.#wantsScopes = true
      this.#say(scope, {})
    }
    this.#followRoute(name)
  }

  #remove(typeUrl: TypeUrl, name: string): void {
    if (typeUrl === endpoints) this.#warming.delete(name)
    if (typeUrl === cluster) {
      this.#warming.delete(name)
      this.bare.delete(name)
      this.#unsubscribe(endpoints, name)
    }
    if (typeUrl === filter) this.#lastFilters.delete(name)
    if (typeUrl === listener) this.early.delete(name)
    this.has.get(typeUrl)!.delete(name)
    this.#followRoute(name)
  }

  /** A listener and a scope may ask for the same route. */
  #followRoute(name: string): void {
    const [own, byScope] = [listener, scope].map(typeUrl => this.has.get(typeUrl)!.get(name))
    const isComplete = !own?.filter || (this.has.get(filter)!.has(name) && !this.early.has(name))
    const isAskedFor = byScope || (own?.route && isComplete)
    if (isAskedFor) this.#subscribe(route, name)
    else this.#unsubscribe(route, name)
  }

  #remember(response: Response): void {
    const { typeUrl, remove } = response
    const memoize = this.#memoize.get(typeUrl)!
    const subscribed = this.#subscribed.get(typeUrl)
    for (const { name, version } of resourcesIn(response)) {
      if (!subscribed || subscribed.has(name)) memoize.set(name, version)
    }
    for (const name of remove) memoize.delete(name)
  }

  #subscribe(typeUrl: TypeUrl, name: string): void {
    const names = this.#subscribed.get(typeUrl)!
    if (names.has(name)) return
    names.add(name)
    this.#say(typeUrl, { subscribe: [name] })
  }

  #unsubscribe(typeUrl: TypeUrl, name: string): void {
    if (!this.#subscribed.get(typeUrl)!.delete(name)) return
    this.has.get(typeUrl)!.delete(name)
    this.#memoize.get(typeUrl)!.delete(name)
    if (typeUrl === filter) {
      this.#lastFilters.delete(name)
      this.#followRoute(name)
    }
    this.#say(typeUrl, { unsubscribe: [name] })
  }

  #say(typeUrl: TypeUrl, said: Partial<Request>): void {
    const request = {
      typeUrl,
      subscribe: [],
      unsubscribe: [],
      initialVersions: {},
      nonce: '',
      error: undefined,
      ...said,
    }
    if (typeUrl === cluster && this.#warming.size > 0) this.#held.push(request)
    else this.requests.push(request)
  }

  #resume(): void {
    if (this.#warming.size > 0) return
    this.requests.push(...this.#held)
    this.#held = []
  }
}
