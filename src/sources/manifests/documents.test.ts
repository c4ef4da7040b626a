import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { piecesOf } from './documents.ts'

/** Reads a text into values, and flaws with their lines. */
async function read(text: string, file = 'a.yaml') {
  const values: unknown[] = []
  const flaws: string[] = []
  for await (const piece of piecesOf(file, text)) {
    if ('flaw' in piece) flaws.push(`${piece.origin} ${piece.isBroken ? 'broken' : 'used'}: ${piece.flaw}`)
    else values.push(piece.value)
  }
  return { values, flaws }
}

const readable: readonly { readonly title: string; readonly text: string; readonly value: unknown }[] = [
  {
    title: 'quoted text that goes on at its key',
    text: 'm:\n  a: "one\n  two"\nb: 1',
    value: { m: { a: 'one two' }, b: 1 },
  },
  {
    title: 'quoted text that goes on at the margin',
    text: "a: 'one\ntwo\n\nthree'\nb: 1",
    value: { a: 'one two\nthree', b: 1 },
  },
  {
    title: 'a flow collection that ends at the margin',
    text: 'a: [\n1,\n2\n]\nb: {\nc: 3\n}',
    value: { a: [1, 2], b: { c: 3 } },
  },
  { title: 'a merge key', text: 'a: &x {b: 1}\nc:\n  <<: *x\n  d: 2', value: { a: { b: 1 }, c: { b: 1, d: 2 } } },
  { title: 'a directive', text: '%YAML 1.2\n---\na: 1', value: { a: 1 } },
  { title: 'a marker with a comment', text: '--- # first\na: 1\n', value: { a: 1 } },
  { title: 'content beside the marker', text: '--- {a: 1}\n', value: { a: 1 } },
  {
    title: 'a line of a block text that looks like a marker',
    text: 'a: |\n  --- no\n  x\n',
    value: { a: '--- no\nx\n' },
  },
]

for (const { title, text, value } of readable) {
  test(`${title} is read as kubectl reads it`, async () => {
    assert.deepEqual(await read(text), { values: [value], flaws: [] })
  })
}

test('the last value of a repeated key counts, as for kubectl, and it is reported with its line', async () => {
  const { values, flaws } = await read('a: 0\n---\na: 1\nb: 2\na: 3\n')
  assert.deepEqual(values, [{ a: 0 }, { a: 3, b: 2 }])
  assert.deepEqual(flaws, ['a.yaml:5 used: a key of a mapping is repeated'])
})

test('a broken document costs only itself, whatever is broken', async () => {
  for (const bad of ['a: [', 'a: "b', 'a: b: c', '\ta: 1', 'a: *b', '}', 'a: &a\n  b: *a', 'a: !!x 1']) {
    const { values, flaws } = await read(`one: 1\n---\n${bad}\n---\ntwo: 2\n`)
    assert.deepEqual(values, [{ one: 1 }, { two: 2 }], bad)
    assert.equal(flaws.length, 1, bad)
    assert.match(flaws[0]!, /^a\.yaml:[345] broken: its?\b/)
  }
})

test('a document of an ignored kind is known by its kind, and its content does not matter', async () => {
  const { values, flaws } = await read(
    'apiVersion: apps/v1\nkind: "Deployment"\nspec: [\n---\napiVersion: v1\nkind: Service\nspec: [\n',
  )
  assert.deepEqual(values, [{ apiVersion: 'apps/v1', kind: 'Deployment' }])
  assert.match(flaws.join(), /^a\.yaml:[78] broken/)
})

test('any objects that are written one after another are read, each at its line', async () => {
  const object = fc.dictionary(fc.constantFrom('a', 'b', 'kind', 'items2'), fc.jsonValue(), { minKeys: 1 })
  await fc.assert(
    fc.asyncProperty(fc.array(object), fc.boolean(), async (objects, isCrlf) => {
      const text = objects.map(value => `---\n${JSON.stringify(value, undefined, 1)}\n`).join('')
      assert.deepEqual(await read(isCrlf ? text.replaceAll('\n', '\r\n') : text), {
        values: JSON.parse(JSON.stringify(objects)),
        flaws: [],
      })
    }),
  )
})
