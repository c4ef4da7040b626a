import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Layer } from '../../plan/ports/port.ts'
import type { EnvoyProtocol } from '../../services/settings/envoyprotocol.ts'
import { mayGoElsewhere } from './vanished.ts'

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
