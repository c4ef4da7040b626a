import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Layer } from '../../plan/ports/port.ts'
import type { EnvoyProtocol } from '../../services/settings/envoyprotocol.ts'
import { hasVanished, mayGoElsewhere } from './vanished.ts'

test('a connection to a vanished endpoint ends only where everything on it may go elsewhere', () => {
  const envoy = (protocol: EnvoyProtocol): Layer => ({ wants: 'envoy', protocol, reason: 'test' })
  const endpoints = ['10.0.0.1', '10.0.0.2', '10.0.0.3'].map(ip => ({ ip, port: 80 }))
  const frontend = (protocol: EnvoyProtocol, count: number) => ({
    layer: envoy(protocol),
    endpoints: endpoints.slice(0, count),
  })
  assert.equal(mayGoElsewhere([frontend('http', 2)]), true)
  assert.equal(mayGoElsewhere([frontend('http', 3), frontend('grpc', 2)]), true)
  assert.equal(mayGoElsewhere([]), false)
  assert.equal(mayGoElsewhere([frontend('http', 1)]), false)
  assert.equal(mayGoElsewhere([frontend('http', 2), frontend('http', 1)]), false)
  assert.equal(mayGoElsewhere([frontend('tcp', 2)]), false)
  assert.equal(mayGoElsewhere([frontend('redis', 2)]), false)
})

test('who acknowledges nothing for half a second has vanished, and so has who answers neither keepalives nor new connections', () => {
  const has = (unacknowledgedMs: number, unansweredProbes: number, timesOut: boolean) =>
    hasVanished({ unacknowledgedMs, unansweredProbes }, () => timesOut)
  assert.equal(has(600, 0, false), true)
  assert.equal(has(200, 0, true), false, 'one lost packet')
  assert.equal(has(0, 2, true), true)
  assert.equal(has(0, 2, false), false, 'lost keepalives')
  assert.equal(has(0, 1, true), false, 'a full backlog, and a lost keepalive')
})
