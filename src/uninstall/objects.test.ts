import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { parse } from 'yaml'
import { cleanupObjects } from './objects.ts'

const deployed = (name: string): unknown =>
  parse(readFileSync(new URL(`../../deploy/cleanup/${name}.yaml`, import.meta.url), 'utf8'))

test('uninstall cleans nodes with what deploy/cleanup has', () => {
  const { namespace, daemonSet } = cleanupObjects('lightpath')
  assert.deepEqual(namespace, deployed('namespace'))
  assert.deepEqual(daemonSet, deployed('daemonset'))
})
