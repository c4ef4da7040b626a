import assert from 'node:assert/strict'
import { test } from 'node:test'
import { imageOnNodes } from './found.ts'

const node = (...names: readonly string[]) => ({ status: { images: names.map(name => ({ names: [name] })) } })

test('nodes are cleaned with the image of Lightpath that most of them have, and with none of a like name', () => {
  const [older, newer] = ['registry.example/lightpath:1', 'registry.example/lightpath:2']
  assert.equal(imageOnNodes([node(older, newer), node(older)]), older)
  assert.equal(imageOnNodes([node(older), node(newer)]), newer)
  assert.equal(
    imageOnNodes([node('a/lightpath-proxy:1', 'a/notlightpath:1', `a/lightpath@sha256:${'0'.repeat(64)}`)]),
    undefined,
  )
  assert.equal(imageOnNodes([]), undefined)
})
