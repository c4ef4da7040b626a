import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import type { Namespace } from '../services/objects/service.ts'
import { Definitions } from './definitions.ts'

const namespace = (name: string, lightpath = ''): Namespace => ({ kind: 'Namespace', name, labels: { lightpath } })

test('an object that several files define is the one of the first file by name, and the next takes over', () => {
  const definitions = new Definitions()
  definitions.replace('b.yaml', [namespace('shop', 'b')])
  definitions.replace('c.yaml', [namespace('shop', 'c')])
  assert.deepEqual(definitions.settle().changes, [{ type: 'put', object: namespace('shop', 'b') }])

  definitions.replace('a.yaml', [namespace('shop', 'a')])
  assert.deepEqual(definitions.settle(), {
    changes: [{ type: 'put', object: namespace('shop', 'a') }],
    rivals: new Set(['a.yaml', 'b.yaml', 'c.yaml']),
  })
  assert.deepEqual(definitions.duplicates('a.yaml'), [])
  assert.match(definitions.duplicates('c.yaml')[0]!.reason, /c.yaml and a.yaml both define it/)

  definitions.replace('a.yaml', [])
  assert.deepEqual(definitions.settle().changes, [{ type: 'put', object: namespace('shop', 'b') }])
})

test('an object that moves from one file to another in one go is not removed', () => {
  const definitions = new Definitions()
  definitions.replace('a.yaml', [namespace('shop')])
  definitions.settle()
  definitions.replace('a.yaml', [])
  definitions.replace('b.yaml', [namespace('shop')])
  assert.deepEqual(definitions.settle().changes, [])
})

test('whatever files report one after another, changes lead readers to what the first file by name says', () => {
  const file = fc.constantFrom('a', 'b', 'c')
  const objects = fc.uniqueArray(
    fc.record({ name: fc.constantFrom('x', 'y', 'z'), lightpath: fc.constantFrom('1', '2') }),
    { selector: object => object.name },
  )
  const steps = fc.array(fc.record({ file, objects, settle: fc.boolean() }), { maxLength: 30 })
  fc.assert(
    fc.property(steps, all => {
      const definitions = new Definitions()
      const files = new Map<string, readonly Namespace[]>()
      const seen = new Map<string, unknown>()
      for (const step of all) {
        const said = step.objects.map(object => namespace(object.name, object.lightpath))
        files.set(step.file, said)
        definitions.replace(step.file, said)
        if (!step.settle) continue
        for (const change of definitions.settle().changes) {
          if (change.type === 'put') {
            assert.ok(!isDeepStrictEqual(seen.get(change.object.name), change.object), 'a put says something new')
            seen.set(change.object.name, change.object)
          } else assert.ok(seen.delete(change.key.name), 'what is removed was there')
        }
        const expected = new Map<string, unknown>()
        for (const name of ['c', 'b', 'a'])
          for (const object of files.get(name) ?? []) expected.set(object.name, object)
        assert.deepEqual(new Map([...seen].sort()), new Map([...expected].sort()))
      }
    }),
  )
})
