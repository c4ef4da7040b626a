import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

const codesIn = (file: string, mark: RegExp) =>
  [...readFileSync(new URL(file, import.meta.url), 'utf8').matchAll(mark)].map(([, code]) => code)

test('docs/errors.md has every code, in its order, and no other', () => {
  const codes = codesIn('problem.ts', /^ {2}\| '(LP\d+)'/gm)
  assert.ok(codes.length > 20)
  assert.deepEqual(codesIn('../../docs/errors.md', /^\| (LP\d+) \|/gm), codes)
})
