import assert from 'node:assert/strict'
import { test } from 'node:test'
import { everything, type FactType, inNamespace, nameOf, ofNode, typeOf } from '../../facts/types.ts'
import { type KubeObject, keyOf } from '../../services/objects/objects.ts'
import { aPod, aService } from '../../services/testing.ts'
import { MergedFacts } from './mergedfacts.ts'

const cart = aService({ namespace: 'shop', name: 'cart' })
const cartName = 'shop/cart'
const pod = aPod('web', '10.0.0.1', { namespace: 'shop', nodeName: 'node2' })

/** Reads one type in these scopes. */
class Reader {
  readonly #merged: MergedFacts
  readonly #type: FactType
  readonly #scopes: ReadonlySet<string>

  constructor(merged: MergedFacts, type: FactType, ...scopes: readonly string[]) {
    this.#merged = merged
    this.#type = type
    this.#scopes = new Set(scopes)
    merged.begin(new Map([[type, this.#scopes]]))
  }

  put(object: KubeObject, version: string): this {
    this.#merged.put(typeOf(object.kind), nameOf(keyOf(object)), version, object)
    return this
  }

  cannotRead(name: string): this {
    this.#merged.cannotRead(this.#type, name)
    return this
  }

  complete(version: string): this {
    for (const scope of this.#scopes) this.#merged.complete(this.#type, scope, version)
    return this
  }
}

/** What the merged facts have said since the last call, such as `put web`. */
function changesOf(merged: MergedFacts): readonly string[] {
  return merged.takeChanges().map(change => {
    const { name } = change.type === 'put' ? change.object : change.key
    return `${change.type} ${name}`
  })
}

test('after a reader without versions, which does not have an object, one with versions tells it again', () => {
  const merged = new MergedFacts()
  new Reader(merged, 'Service', everything).put(cart, '50').complete('100')
  new Reader(merged, 'Service', everything).complete('')
  assert.deepEqual(changesOf(merged), ['put cart', 'remove cart'])
  new Reader(merged, 'Service', everything).put(cart, '50').complete('100')
  assert.deepEqual(changesOf(merged), ['put cart'])
})

test('an object that one replica told unreadably is taken from another that is behind it', () => {
  const merged = new MergedFacts()
  new Reader(merged, 'Service', everything).cannotRead(cartName).complete('100')
  assert.deepEqual(changesOf(merged), [])
  new Reader(merged, 'Service', everything).put(cart, '50').complete('99')
  assert.deepEqual(changesOf(merged), ['put cart'])
})

test('an object of which a replica tells unreadable news stays', () => {
  const merged = new MergedFacts()
  new Reader(merged, 'Service', everything).put(cart, '50').complete('100')
  new Reader(merged, 'Service', everything).cannotRead(cartName).complete('200')
  assert.deepEqual(changesOf(merged), ['put cart'])
})

for (const [how, before, after] of [
  ['more', [ofNode('node1'), inNamespace('shop')], [everything]],
  ['fewer', [everything], [ofNode('node1'), inNamespace('shop')]],
] as const) {
  test(`a Pod that was deleted stays so where the next reader is behind and reads ${how} Pods`, () => {
    const merged = new MergedFacts()
    new Reader(merged, 'Pod', ...before).complete('100')
    new Reader(merged, 'Pod', ...after).put(pod, '50').complete('60')
    assert.deepEqual(changesOf(merged), [])
    new Reader(merged, 'Pod', ...after).put(pod, '110').complete('120')
    assert.deepEqual(changesOf(merged), ['put web'])
  })
}

test('the Pods of a namespace that are read before all Pods are known stay deleted after a reader that tells nothing', () => {
  const merged = new MergedFacts()
  new Reader(merged, 'Pod', inNamespace('shop')).complete('100')
  for (let i = 0; i < 2; i++) new Reader(merged, 'Pod', everything)
  new Reader(merged, 'Pod', everything).put(pod, '50')
  assert.deepEqual(changesOf(merged), [])
  assert.equal(merged.isComplete, false)
})
