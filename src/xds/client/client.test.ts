import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isDeepStrictEqual as isDeepEqual } from 'node:util'
import fc from 'fast-check'
import { backing as backingOf, type Resource, type ResourceRef, type TypeUrl, typeUrls } from '../../envoy/resource.ts'
import { ResourceStore } from '../store.ts'
import { envoyTypes } from '../types.ts'
import { type Content, modelResource, type Quality } from './model-envoy.ts'
import { Link } from './testing-link.ts'

const { cluster, endpoints, listener, route, scope } = typeUrls
const options = { types: envoyTypes }

let versions = 0
const nextVersion = () => `v${++versions}`

interface ServiceState {
  readonly cluster: Quality
  readonly endpoints: Quality | undefined
  readonly listener: Quality | undefined
  readonly route: Quality | undefined
  readonly scope: Quality | undefined
  /** The Service that the address leads to: route and scope lean on that one's cluster and endpoints. Default its own. */
  readonly leadsTo?: string | undefined
}

const commonRef: ResourceRef = { typeUrl: listener, name: 'common' }
const shared = modelResource(listener, 'common', 'v1', { quality: 'good', scopes: true })

/** What `envoy/` would make of a Service: listener, route and scope lean on cluster and endpoints. */
function resourcesOf(name: string, state: ServiceState, version: () => string): Resource[] {
  const resource = (typeUrl: TypeUrl, content: Content, requires: readonly ResourceRef[]) =>
    modelResource(typeUrl, name, version(), content, requires)
  const resources = [resource(cluster, { quality: state.cluster }, [])]
  if (state.endpoints) resources.push(resource(endpoints, { quality: state.endpoints }, [{ typeUrl: cluster, name }]))
  const backing = state.endpoints ? backingOf(name) : [{ typeUrl: cluster, name }]
  if (state.listener) {
    resources.push(resource(listener, { quality: state.listener, route: state.route !== undefined }, backing))
  }
  const { leadsTo = name } = state
  const led = leadsTo === name ? backing : backingOf(leadsTo)
  if (state.route) resources.push(resource(route, { quality: state.route }, led))
  // Nothing in a scope tells where its route leads.
  const scopeVersion = `${state.scope} scope`
  if (state.scope)
    resources.push(modelResource(scope, name, scopeVersion, { quality: state.scope }, [...led, commonRef]))
  return name === 'd' ? resources.map(resource => ({ ...resource, isLarge: true })) : resources
}

const types = [cluster, endpoints, route, listener, scope]

function putService(
  store: ResourceStore,
  name: string,
  state: ServiceState,
  changed: readonly TypeUrl[] = types,
): void {
  const put = resourcesOf(name, state, nextVersion)
  const present = new Set(put.map(resource => resource.typeUrl))
  // What a resource requires is part of what its version is made from, but for scopes.
  const isOther = ({ typeUrl, requires }: Resource) => !isDeepEqual(store.get(typeUrl, name)?.requires, requires)
  store.update({
    put: put.filter(resource => changed.includes(resource.typeUrl) || isOther(resource)),
    remove: types.filter(typeUrl => !present.has(typeUrl)).map(typeUrl => ({ typeUrl, name })),
  })
  keepCommon(store)
}

function removeService(store: ResourceStore, name: string): void {
  store.update({ remove: types.map(typeUrl => ({ typeUrl, name })) })
  keepCommon(store)
}

/** The listener of all scopes is there while there are any. */
function keepCommon(store: ResourceStore): void {
  store.update(store.size(scope) > 0 ? { put: [shared] } : { remove: [commonRef] })
}

const quality = fc.oneof(
  { weight: 5, arbitrary: fc.constant<Quality>('good') },
  fc.constantFrom<Quality>('bad', 'broken'),
)
const names = fc.constantFrom('a', 'aa', 'b', 'c', 'd')
const action = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('put' as const),
      name: names,
      state: fc.record({
        cluster: quality,
        endpoints: fc.option(quality, { nil: undefined, freq: 6 }),
        listener: fc.option(quality, { nil: undefined, freq: 6 }),
        route: fc.option(quality, { nil: undefined, freq: 2 }),
        scope: fc.option(quality, { nil: undefined, freq: 2 }),
        leadsTo: fc.option(names, { nil: undefined, freq: 1 }),
      }),
      changed: fc.subarray(types),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('remove' as const), name: names }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('send' as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('hear' as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('receive' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('drain' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reconnect' as const) }) },
)

test('whatever happens in whatever order, Envoy ends with what the store has but for what it refused, and no order of delivery breaks a Service', () => {
  fc.assert(
    fc.property(
      fc.array(action, { maxLength: 80, size: 'max' }),
      fc.constantFrom(1, 2, 1000),
      (actions, maxResources) => {
        const link = new Link({ ...options, maxResources })
        const { store, envoy } = link
        for (const step of actions) {
          if (step.do === 'put') putService(store, step.name, step.state, step.changed)
          else if (step.do === 'remove') removeService(store, step.name)
          else if (step.do === 'send') link.send()
          else if (step.do === 'hear') link.hear()
          else if (step.do === 'receive') envoy.receive(link.nacks)
          else if (step.do === 'drain') link.drain()
          else link.reconnect()
        }
        link.drain()
        for (const typeUrl of types) {
          const names = new Set([...store.names(typeUrl), ...envoy.has.get(typeUrl)!.keys()])
          for (const name of names) checkOutcome(link, { typeUrl, name })
        }
        assert.deepEqual(link.ignored, [])
        if (store.types().every(typeUrl => typeUrl !== route)) assert(link.settled > 0)
      },
    ),
    { numRuns: 3000 },
  )
})

function checkOutcome(link: Link, ref: ResourceRef): void {
  const { store, envoy, nacks, reconnects, client } = link
  const what = `${ref.typeUrl} ${ref.name}`
  // The endpoints of a cluster that was made anew are none until they come again.
  const isPutAside = ref.typeUrl === endpoints && envoy.bare.has(ref.name)
  // What Envoy does not tell after a reconnect nobody knows.
  if (reconnects > 0 && (isPutAside || envoy.hasForgotten(ref))) return
  const version = isPutAside ? undefined : envoy.version(ref)
  const told = client.acknowledgedVersion(ref)
  // Endpoints refused while their cluster changes count as gone, since the changed cluster may be in use already.
  const isDoubtful = ref.typeUrl === endpoints && nacks.some(nack => isDeepEqual(nack.ref, ref))
  if (told !== undefined || !isDoubtful) assert.equal(told, version, `${what}: server and Envoy disagree`)
  const stored = store.get(ref.typeUrl, ref.name)
  if (!stored) assert(version === undefined || isDoubtful || isKept(link, ref), `${what} is not gone`)
  else if (version !== stored.version) assert(isExcused(link, stored), `${what} is missing`)
}

/** Required by what Envoy has, or possibly by what Envoy kept from before a reconnect since it refused what followed. */
function isKept(link: Link, ref: ResourceRef): boolean {
  const { envoy, nacks, reconnects } = link
  return (
    envoy.usersOf(ref).length > 0 ||
    isRequiredByScope(link, ref) ||
    (reconnects > 0 && nacks.some(nack => envoy.version(nack.ref) !== undefined))
  )
}

/** A scope that Envoy has may require this: certainly if the store has it so, possibly if Envoy refused what the store has. */
function isRequiredByScope({ store, envoy }: Link, ref: ResourceRef): boolean {
  return [...envoy.has.get(scope)!].some(([name, { version }]) => {
    const stored = store.get(scope, name)
    return stored && (stored.version !== version || stored.requires.some(required => isDeepEqual(required, ref)))
  })
}

/** Refused, or leaning on something that Envoy does not have, or not asked for since what asks for it is refused. */
function isExcused({ envoy, nacks, client, store }: Link, resource: { typeUrl: TypeUrl; name: string }): boolean {
  const { typeUrl, name } = resource
  const stored = store.get(typeUrl, name)!
  const content: Content = JSON.parse(new TextDecoder().decode(stored.encode()))
  if (nacks.some(({ ref, version }) => ref.typeUrl === typeUrl && ref.name === name && version === stored.version)) {
    return content.quality !== 'good'
  }
  if (stored.requires.some(required => client.acknowledgedVersion(required) === undefined)) return true
  return !envoy.wants(typeUrl, name)
}

const good: ServiceState = { cluster: 'good', endpoints: 'good', listener: 'good', route: 'good', scope: 'good' }

/** A link with these Services delivered. */
function delivered(...names: string[]): Link {
  const link = new Link()
  for (const name of names) putService(link.store, name, good)
  link.drain()
  return link
}

const versionOf = (link: Link, typeUrl: TypeUrl, name: string) => link.store.get(typeUrl, name)?.version

test('after a reconnect to the same store nothing is sent, and everything counts as acknowledged before `settled`', () => {
  const link = delivered('a', 'b', 'c')
  const before = link.envoy.received
  link.settled = 0
  link.reconnect()
  link.drain()
  assert.equal(link.envoy.received, before)
  assert.equal(link.settled, 1)
  for (const typeUrl of types) assert.equal(link.version(typeUrl, 'b'), versionOf(link, typeUrl, 'b'))
})

test('`settled` waits until Envoy has said what it has of every type', () => {
  const link = delivered('a')
  link.settled = 0
  link.reconnect()
  while (link.envoy.requests.length > 0) {
    assert.equal(link.client.next(), undefined)
    assert.equal(link.settled, 0)
    link.hear()
  }
  link.client.next()
  assert.equal(link.settled, 1)
})

test('a resource that is removed and put back before the removal was sent is not sent at all', () => {
  const link = delivered('a')
  const before = link.envoy.received
  const all = types.map(typeUrl => link.store.get(typeUrl, 'a')!)
  removeService(link.store, 'a')
  link.store.update({ put: all })
  link.drain()
  assert.equal(link.envoy.received, before)
})

test('what is small goes before what is large, also where it came later, and what is large goes in small responses', () => {
  const link = new Link({ ...options, maxBytes: 80 })
  const large = ['large-1', 'large-2', 'large-3']
  for (const name of [...large, 'small']) putService(link.store, name, good)
  link.drain()
  const put = (name: string, isLarge: boolean) => {
    const { typeUrl, requires } = link.store.get(endpoints, name)!
    link.store.update({
      put: [{ ...modelResource(typeUrl, name, nextVersion(), { quality: 'good' }, requires), isLarge }],
    })
  }
  const sent = () => link.client.next()?.put.map(({ resource }) => resource.name)
  for (const name of large) put(name, true)
  put('small', false)
  assert.deepEqual(sent(), ['small', 'large-1'])
})

test('a resource that is put back while its removal is in flight is sent again', () => {
  const link = delivered('a')
  const listenerBefore = link.store.get(listener, 'a')!
  link.store.update({ remove: [listenerBefore] })
  link.send()
  link.store.update({ put: [listenerBefore] })
  link.drain()
  assert.equal(link.envoy.version(listenerBefore), listenerBefore.version)
  assert.deepEqual(
    link.gone.filter(({ typeUrl }) => typeUrl === listener),
    [{ typeUrl: listener, name: 'a' }],
  )
})

test('what requires a refused resource waits, and comes when a good version of it does', () => {
  const link = new Link()
  putService(link.store, 'a', { ...good, cluster: 'bad' })
  link.drain()
  assert.equal(link.nacks.length, 1)
  assert.equal(link.version(listener, 'a'), undefined)
  putService(link.store, 'a', good, [cluster])
  link.drain()
  assert.equal(link.version(listener, 'a'), versionOf(link, listener, 'a'))
})

test('a refused version is not sent to that Envoy again, also when it subscribes anew', () => {
  const link = new Link()
  putService(link.store, 'a', { ...good, endpoints: 'bad' })
  link.drain()
  assert.equal(link.nacks.length, 1)
  link.client.request({
    typeUrl: endpoints,
    subscribe: ['a'],
    unsubscribe: [],
    initialVersions: {},
    nonce: '',
    error: undefined,
  })
  // Envoy waits for an answer: that there are no such endpoints.
  const answer = link.client.next()
  assert.deepEqual([answer?.put, answer?.remove], [[], ['a']])
})

test('what came beside something that Envoy refused is remembered by it: after a reconnect none of it is sent again', () => {
  const link = new Link()
  link.store.update({
    put: ['a', 'b', 'c'].flatMap(name =>
      resourcesOf(name, { ...good, cluster: name === 'b' ? 'bad' : 'good' }, nextVersion),
    ),
  })
  keepCommon(link.store)
  link.drain()
  removeService(link.store, 'b')
  const before = link.envoy.received
  link.reconnect()
  link.drain()
  assert.equal(link.envoy.received, before)
  assert.equal(link.version(cluster, 'c'), versionOf(link, cluster, 'c'))
})

test('no response both puts and removes, since Envoy would list what it removed in a refused one', () => {
  const link = delivered('a', 'b')
  link.store.update({
    put: [modelResource(listener, 'c', 'bad', { quality: 'bad' })],
    remove: [{ typeUrl: listener, name: 'a' }],
  })
  const responses = [link.client.next()]
  link.client.request({
    typeUrl: listener,
    subscribe: [],
    unsubscribe: [],
    initialVersions: {},
    nonce: responses[0]!.nonce,
    error: undefined,
  })
  responses.push(link.client.next())
  assert.deepEqual(
    responses.map(response => [response!.put.length, response!.remove.length].toSorted()),
    [
      [0, 1],
      [0, 1],
    ],
  )
})

test('a name that does not exist is answered as removed, once', () => {
  const link = delivered('a')
  const ask = {
    typeUrl: endpoints,
    subscribe: ['nobody'],
    unsubscribe: [],
    initialVersions: {},
    nonce: '',
    error: undefined,
  }
  link.client.request(ask)
  const answer = link.client.next()
  assert.deepEqual(answer?.remove, ['nobody'])
  link.client.request({ ...ask, subscribe: [], nonce: answer.nonce })
  assert.equal(link.client.next(), undefined)
})

test('a Service that is removed while the culprit of a refusal is looked for takes no other along', () => {
  const link = new Link()
  const services = ['a', 'b', 'c', 'd', 'e', 'f']
  const plain: ServiceState = {
    cluster: 'good',
    endpoints: undefined,
    listener: undefined,
    route: undefined,
    scope: undefined,
  }
  for (const name of services) putService(link.store, name, plain)
  link.drain()
  for (const name of services)
    putService(link.store, name, { ...plain, cluster: name === 'f' ? 'broken' : 'good' }, [cluster])
  link.send()
  link.envoy.receive(link.nacks)
  removeService(link.store, 'b')
  link.drain()
  for (const name of ['a', 'c', 'd', 'e']) assert.equal(link.version(cluster, name), versionOf(link, cluster, name))
  assert.equal(link.version(cluster, 'b'), undefined)
})

test('a listener from before a reconnect whose successor is refused holds what it requires, and nothing else', () => {
  const link = new Link()
  const plain = { ...good, route: undefined, scope: undefined }
  for (const name of ['a', 'b']) putService(link.store, name, plain)
  link.drain()
  link.store.update({ remove: [{ typeUrl: listener, name: 'a' }] })
  link.reconnect()
  while (link.envoy.requests.length > 0) link.hear()
  putService(link.store, 'a', { ...plain, listener: 'bad' })
  link.drain()
  assert.equal(link.nacks.length, 1)

  removeService(link.store, 'b')
  link.drain()
  for (const typeUrl of types) assert.equal(link.version(typeUrl, 'b'), undefined)

  removeService(link.store, 'a')
  link.send()
  link.send()
  assert.deepEqual(
    link.envoy.inbox.map(({ typeUrl }) => typeUrl),
    [listener],
  )
  link.drain()
  for (const typeUrl of types) assert.equal(link.version(typeUrl, 'a'), undefined)
})

test('a resubscription to a name gets the resource again', () => {
  const link = delivered('a')
  link.client.request({
    typeUrl: endpoints,
    subscribe: ['a'],
    unsubscribe: [],
    initialVersions: {},
    nonce: '',
    error: undefined,
  })
  assert.deepEqual(
    link.client.next()?.put.map(({ resource }) => resource.name),
    ['a'],
  )
})

test('one broken resource among 1000 costs a few dozen responses, and the others arrive', () => {
  const link = new Link()
  for (let n = 0; n < 1000; n++)
    putService(link.store, `s${n}`, {
      ...good,
      cluster: n === 321 ? 'broken' : 'good',
      listener: undefined,
      route: undefined,
    })
  let responses = 0
  const deliver = link.envoy.deliver.bind(link.envoy)
  link.envoy.deliver = (response, client) => {
    if (response.typeUrl === cluster) responses++
    deliver(response, client)
  }
  link.drain()
  assert.deepEqual(
    link.nacks.map(({ ref }) => ref.name),
    ['s321'],
  )
  assert.equal(link.envoy.has.get(cluster)!.size, 999)
  assert(responses <= 25, `${responses} responses`)
})

test('a Service that Envoy keeps refusing or that waits does not hold another', () => {
  const link = delivered('b')
  putService(link.store, 'a', { ...good, cluster: 'broken' })
  link.drain()
  for (let round = 0; round < 5; round++) {
    putService(link.store, 'a', { ...good, cluster: 'broken', endpoints: 'bad' })
    putService(link.store, 'b', good)
    link.drain()
    for (const typeUrl of types) assert.equal(link.version(typeUrl, 'b'), versionOf(link, typeUrl, 'b'))
  }
})

test('the removal of a Service while Envoy was away starts at the listeners, whatever type Envoy asks for first', () => {
  const link = delivered('a', 'b')
  removeService(link.store, 'a')
  link.reconnect()
  link.hear()
  link.send()
  assert.deepEqual(
    link.envoy.inbox[0]?.remove,
    [],
    'nothing is removed while Envoy has not said which listeners it has',
  )
  link.drain()
  for (const typeUrl of types) {
    assert.equal(link.envoy.version({ typeUrl, name: 'a' }), undefined)
    assert.equal(link.envoy.version({ typeUrl, name: 'b' }), versionOf(link, typeUrl, 'b'))
  }
})

test('what was removed while Envoy was away leaves it when there is nothing else to tell', () => {
  const link = delivered('a')
  removeService(link.store, 'a')
  link.reconnect()
  link.drain()
  assert.deepEqual(
    types.flatMap(typeUrl => [...link.envoy.has.get(typeUrl)!.keys()]),
    [],
  )
})

test('a listener that comes back to the store as Envoy has listed it holds no removal', () => {
  const link = delivered('a', 'b')
  const stored = link.store.get(listener, 'a')!
  link.store.update({ remove: [stored] })
  link.reconnect()
  while (link.envoy.requests.length > 0) link.hear()
  link.store.update({ put: [stored] })
  removeService(link.store, 'b')
  link.drain()
  for (const typeUrl of types) assert.equal(link.envoy.version({ typeUrl, name: 'b' }), undefined)
})

/** The address of Service `a` goes to `b`: another route, and the same scope. */
function moveAddress(store: ResourceStore): void {
  putService(store, 'a', { ...good, listener: undefined, leadsTo: 'b' }, [])
  store.update({ remove: backingOf('a') })
}

const clusterOf = (link: Link, name: string) => link.envoy.version({ typeUrl: cluster, name })

test('a scope whose address goes to another Service lets go of the old cluster and holds the new one', () => {
  const link = delivered('a', 'b')
  const before = link.envoy.version({ typeUrl: scope, name: 'a' })
  moveAddress(link.store)
  link.drain()
  assert.equal(clusterOf(link, 'a'), undefined)
  assert.equal(link.version(route, 'a'), versionOf(link, route, 'a'))
  assert.equal(link.envoy.version({ typeUrl: scope, name: 'a' }), before)

  link.store.update({ remove: [{ typeUrl: route, name: 'a' }] })
  removeService(link.store, 'b')
  link.drain()
  assert(clusterOf(link, 'b'), 'the scope still leads there')
  removeService(link.store, 'a')
  link.drain()
  assert.equal(clusterOf(link, 'b'), undefined)
})

test('a scope whose address goes to a Service that Envoy does not have yet holds that one once it comes', () => {
  const link = delivered('a')
  moveAddress(link.store)
  link.drain()
  assert(clusterOf(link, 'a'), 'the route leads there until it can lead elsewhere')
  putService(link.store, 'b', good)
  link.drain()
  assert.equal(clusterOf(link, 'a'), undefined)
  assert.equal(link.version(route, 'a'), versionOf(link, route, 'a'))

  link.store.update({ remove: [{ typeUrl: route, name: 'a' }] })
  removeService(link.store, 'b')
  link.drain()
  assert(clusterOf(link, 'b'), 'the scope still leads there')
})

test('a scope whose address goes to another Service while Envoy is told of it holds the new cluster only', () => {
  const link = delivered('b')
  putService(link.store, 'a', good)
  while (link.envoy.inbox.every(({ typeUrl }) => typeUrl !== scope)) {
    link.hear()
    link.envoy.receive(link.nacks)
    while (link.send());
  }
  moveAddress(link.store)
  link.drain()
  assert.equal(clusterOf(link, 'a'), undefined)
  link.store.update({ remove: [{ typeUrl: route, name: 'a' }] })
  removeService(link.store, 'b')
  link.drain()
  assert(clusterOf(link, 'b'), 'the scope still leads there')
})

test('an address that went to another Service while Envoy was away leaves the old cluster before that is removed', () => {
  const link = delivered('b')
  putService(link.store, 'a', { ...good, listener: undefined })
  link.drain()
  moveAddress(link.store)
  link.reconnect()
  link.drain()
  assert.equal(clusterOf(link, 'a'), undefined)
  assert.equal(link.version(route, 'a'), versionOf(link, route, 'a'))
})

test('with 30,000 resources a change looks at what it changes and no more', () => {
  class CountingStore extends ResourceStore {
    looks = 0
    override get(typeUrl: TypeUrl, name: string) {
      this.looks++
      return super.get(typeUrl, name)
    }
  }
  const store = new CountingStore()
  const link = new Link(options, store)
  const services = Array.from({ length: 10_000 }, (_, n) => `s${n}`)
  const plain = { ...good, route: undefined, scope: undefined }
  store.update({ put: services.flatMap(name => resourcesOf(name, plain, nextVersion)) })
  link.drain()
  assert.equal(link.envoy.has.get(listener)!.size, 10_000)
  const lookedAt = (change: () => void) => {
    store.looks = 0
    change()
    link.drain()
    return store.looks
  }
  assert(lookedAt(() => putService(store, 's5000', plain, [endpoints])) < 50)
  assert(lookedAt(() => putService(store, 's5000', plain)) < 50)
  assert(lookedAt(() => removeService(store, 's7000')) < 50)
  assert(lookedAt(() => putService(store, 's7000', plain)) < 50)
})
