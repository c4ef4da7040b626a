import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { definitions } from '../options.ts'
import { portNumber } from './values.ts'

test('SECURITY.md says of each port and socket who can reach it', () => {
  const text = readFileSync(new URL('../../../SECURITY.md', import.meta.url), 'utf8')
  const table = text.slice(text.indexOf('## Who reaches what'), text.indexOf('## What tenants are promised'))
  const ports = Object.entries(definitions).filter(([, { placeholder }]) => placeholder === portNumber.placeholder)
  assert.ok(ports.length >= 5)
  for (const [name, { default: port }] of ports) assert.match(table, new RegExp(`\\b${port}\\b`), name)
  for (const place of [definitions.socket.default, '10256', '10249', 'healthCheckNodePort']) {
    assert.ok(table.includes(place), place)
  }
})
