import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Resource, type TypeUrl, typeNameOf, typeUrls } from '../../envoy/resource.ts'
import type { Frontend } from '../../envoy/resources/frontend.ts'
import { aPortState } from '../../plan/testing.ts'
import { aPort } from '../../services/testing.ts'
import { ResourceStore } from '../../xds/store.ts'
import { type Changes, PublishedFrontends } from './published.ts'

const tcp = { wants: 'envoy', protocol: 'tcp', reason: 'overlay is true' } as const

/** What was published to Envoy, and what is in the store then. */
class Telling {
  readonly frontends = new PublishedFrontends({})
  readonly #store = new ResourceStore()
  /** All addresses that were left. */
  readonly left: string[] = []

  want(frontend: Frontend): void {
    this.#tell(frontend, true)
  }

  drain(frontend: Frontend, isClosing = false): void {
    this.#tell(frontend, false, isClosing)
  }

  forget(id: string): void {
    this.#change(changes => this.frontends.forget(id, changes))
  }

  addFormer(name: string): void {
    this.#change(changes => this.frontends.addFormer(name, changes))
  }

  forgetFormerRoutes(address: string): void {
    this.#change(changes => this.frontends.forgetFormerRoutes(address, changes))
  }

  forgetFormerCluster(address: string): void {
    this.#change(changes => this.frontends.forgetFormerCluster(address, changes))
  }

  /** By type, without what frontends share: `cluster a/web/http`. */
  get has(): readonly string[] {
    const refs = Object.values(typeUrls).flatMap(typeUrl => {
      return [...this.#store.names(typeUrl)].map(name => `${typeNameOf(typeUrl)} ${name}`)
    })
    return refs.filter(ref => !/shared|scopes/.test(ref)).sort()
  }

  route(name: string): Resource | undefined {
    return this.#store.get(typeUrls.route, name)
  }

  #tell(frontend: Frontend, isWanted: boolean, isClosing = false): void {
    this.#change(changes => this.left.push(...this.frontends.publish(frontend, { isWanted, isClosing }, changes)))
  }

  #change(collect: (changes: Changes) => void): void {
    const changes: Changes = { put: [], remove: [] }
    collect(changes)
    this.#store.update(changes)
  }
}

/** The cluster whose endpoints its requests go to. */
function clusterOf(route: Resource | undefined): string | undefined {
  return route?.requires[0]?.name
}

const web = aPortState({ id: 'a/web/http', vip: '10.96.0.1' })
const renamed = aPortState({ ...web, id: 'a/web/http-web', port: aPort({ name: 'http-web' }) })
/** Cluster and endpoints of these addresses, and everything else there is. */
const backed = (addresses: readonly string[], ...others: readonly string[]) =>
  ['cluster', 'endpoints'].flatMap(type => addresses.map(address => `${type} ${address}`)).concat(others)
const [at80, at81] = ['10.96.0.1:80', '10.96.0.1:81'] as const

test('a draining frontend gets back nothing that another has taken over, and takes nothing along when it goes', () => {
  for (const protocol of [undefined, tcp]) {
    const telling = new Telling()
    const [before, after] = [web, renamed].map(frontend =>
      protocol ? { ...frontend, layer: protocol } : frontend,
    ) as [Frontend, Frontend]
    telling.want(before)
    telling.drain(before)
    telling.want(after)
    const places = telling.has
    assert.ok(places.length > 2)
    // Its endpoints go, and its drain time ends.
    telling.drain({ ...before, endpoints: [] })
    telling.drain(before, true)
    for (const place of places) assert.ok(telling.has.includes(place), place)
    telling.forget(before.id)
    assert.deepEqual(telling.has, places)
    assert.equal(telling.frontends.ownerOf({ typeUrl: typeUrls.cluster, name: at80 }), after.id)
  }
})

test('a listener of its own stays for its connections when another frontend comes to its address on the shared one', () => {
  const telling = new Telling()
  telling.want({ ...web, layer: tcp })
  telling.drain({ ...web, layer: tcp })
  assert.deepEqual(telling.has, backed([at80], `filter ${at80}/tcp`, `listener ${at80}`))
  telling.want(renamed)
  assert.ok(telling.has.includes(`listener ${at80}`))
  assert.deepEqual(telling.frontends.listenersOf(web.id), [at80])
  telling.forget(web.id)
  assert.deepEqual(telling.has, backed([at80], `route ${at80}`, `scope ${at80}`))
})

test('a frontend that moves is redirected to its new address, and connections at the old one end, until that is forgotten', () => {
  const moved = { ...web, port: aPort({ port: 81 }) }
  const telling = new Telling()
  telling.want(web)
  const staying = telling.route(at80)?.version
  assert.equal(telling.frontends.hasMoved({ ...web, endpoints: [] }), false)
  assert.equal(telling.frontends.hasMoved(moved), true)
  telling.want(moved)
  const routed = (...addresses: readonly string[]) =>
    ['route', 'scope'].flatMap(type => addresses.map(address => `${type} ${address}`))
  assert.deepEqual(telling.has, backed([at80, at81], ...routed(at80, at81)))
  assert.notEqual(telling.route(at80)?.version, staying)
  assert.equal(clusterOf(telling.route(at80)), at81)
  assert.deepEqual(telling.left, [at80])
  telling.forgetFormerRoutes(at80)
  assert.deepEqual(telling.has, backed([at80, at81], ...routed(at81)))
  telling.forgetFormerCluster(at80)
  assert.deepEqual(telling.has, backed([at81], ...routed(at81)))
})

test('an address that was left and is taken again is not forgotten', () => {
  for (const successor of [web, renamed]) {
    const telling = new Telling()
    telling.want(web)
    telling.want({ ...web, port: aPort({ port: 81 }) })
    telling.want(successor)
    telling.forgetFormerRoutes(at80)
    telling.forgetFormerCluster(at80)
    const all = backed([at80], `route ${at80}`, `scope ${at80}`)
    for (const ref of all) assert.ok(telling.has.includes(ref), `${successor.id} ${ref}`)
    assert.equal(clusterOf(telling.route(at80)), at80)
  }
})

test('from http to tcp and back, requests of open connections find their routes until these are forgotten', () => {
  const telling = new Telling()
  telling.want(web)
  telling.want({ ...web, layer: tcp })
  const asHttp = backed([at80], `route ${at80}`, `scope ${at80}`)
  assert.deepEqual(telling.has, [...asHttp, `filter ${at80}/tcp`, `listener ${at80}`].sort())
  telling.want(web)
  assert.deepEqual(telling.has, asHttp)
  telling.forgetFormerRoutes(at80)
  telling.forgetFormerCluster(at80)
  assert.deepEqual(telling.has, asHttp)
})

test('a frontend that drained while the client’s mark came is published with it when it is wanted again', () => {
  const telling = new Telling()
  const changes: Changes = { put: [], remove: [] }
  const frontend = { ...web, layer: tcp }
  telling.want(frontend)
  telling.drain(frontend)
  const before = telling.frontends.get(web.id)?.resources.at(-1)?.version
  telling.frontends.setNode({ clientMark: 0x2000 }, () => false, changes)
  telling.want(frontend)
  assert.notEqual(telling.frontends.get(web.id)?.resources.at(-1)?.version, before)
})

test('when endpoints come to see the client, routes are published anew with the listeners', () => {
  const telling = new Telling()
  const changes: Changes = { put: [], remove: [] }
  const frontend = aPortState()
  telling.want(frontend)
  telling.frontends.setNode({ clientMark: 0x2000 }, () => true, changes)
  assert.deepEqual(changes.put.map(({ typeUrl }) => typeUrl).toSorted(), [typeUrls.listener, typeUrls.route].sort())
})

test('what frontends share is published once: a listener for each family, and their filter', () => {
  const telling = new PublishedFrontends({})
  const put = (frontend: Frontend) => {
    const changes: Changes = { put: [], remove: [] }
    telling.publish(frontend, { isWanted: true, isClosing: false }, changes)
    const shared = changes.put.filter(resource => telling.sharedAt(resource))
    assert.ok(telling.sharedOf(frontend).length === 3 && shared.every(one => telling.sharedOf(frontend).includes(one)))
    return shared.map(({ name }) => name)
  }
  assert.deepEqual(put(web), ['shared/http', 'scopes', 'shared-IPv4'])
  assert.deepEqual(put(aPortState({ id: 'a/other/http', vip: '10.96.0.3', port: aPort({ port: 81 }) })), [])
  assert.deepEqual(put(aPortState({ id: 'a/six/http', family: 'IPv6', vip: 'fd00::3' })), ['shared-IPv6'])
})

test('when an Envoy comes that has the module, its own and the shared listener are published anew', () => {
  const telling = new Telling()
  const changes: Changes = { put: [], remove: [] }
  telling.want(web)
  const settings = { ...web.settings, idleTimeout: 5000 }
  telling.want({ ...web, settings, id: 'a/own/http', vip: '10.96.0.77' })
  telling.frontends.setNode({ hasModule: true }, () => true, changes)
  const of = (type: TypeUrl) => changes.put.filter(({ typeUrl }) => typeUrl === type).map(({ name }) => name)
  assert.deepEqual(of(typeUrls.listener).toSorted(), ['10.96.0.77:80', 'scopes', 'shared-IPv4'])
  assert.deepEqual(of(typeUrls.filter).toSorted(), ['10.96.0.77:80/http', '10.96.0.77:80/tcp', 'shared/http'])
})

test('an address of a previous run ends its connections until it is forgotten, and not once a frontend has it', () => {
  const telling = new Telling()
  const [gone, back] = ['10.96.0.9:80', '10.96.0.10:80']
  for (const address of [gone, back]) telling.addFormer(address)
  assert.deepEqual(telling.has, [`route ${back}`, `route ${gone}`, `scope ${back}`, `scope ${gone}`].sort())
  const frontend = aPortState()
  telling.want(frontend)
  assert.equal(clusterOf(telling.route(back)), back)
  for (const address of [gone, back]) telling.forgetFormerRoutes(address)
  assert.ok(!telling.has.some(ref => ref.endsWith(gone)))
  assert.ok(telling.has.includes(`route ${back}`) && telling.has.includes(`scope ${back}`))
})

test('a listener that ports share stays when the last of them goes', () => {
  const changes: Changes = { put: [], remove: [] }
  const frontends = new PublishedFrontends({})
  const wanted = { isWanted: true, isClosing: false }
  const [one, two] = [aPortState(), aPortState({ id: 'whoami/two/http', name: 'two', vip: '10.96.0.11' })]
  for (const frontend of [one, two, one]) frontends.publish(frontend, wanted, changes)
  const isGone = () =>
    changes.remove.some(({ typeUrl, name }) => typeUrl === typeUrls.listener && name === 'shared-IPv4')
  frontends.forget(one.id, changes)
  frontends.publish({ ...two, port: aPort({ port: 81 }) }, wanted, changes)
  assert.equal(isGone(), false)
  frontends.forget(two.id, changes)
  assert.equal(isGone(), false)
})
