import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { portProtocol } from '../../services/settings/protocol.ts'
import { aNamespace, anEndpoint, aPort, aService, aSlice } from '../../services/testing.ts'
import { planOf, stateOf } from '../testing.ts'

describe('what a port speaks', () => {
  for (const [appProtocol, name, expected] of [
    ['http', 'db', 'http'],
    ['HTTP', 'db', 'http'],
    ['http2', 'db', 'http'],
    ['h2c', 'db', 'http'],
    ['kubernetes.io/h2c', 'grpc', 'http'],
    ['kubernetes.io/ws', '', 'http'],
    ['grpc-web', '', 'http'],
    ['GRPC', 'http', 'grpc'],
    ['https', 'http', 'kernel'],
    ['kubernetes.io/wss', 'http', 'kernel'],
    ['httpx', 'http', 'kernel'],
    ['lightpath.cloud/redis', 'http', 'redis'],
    [undefined, 'http', 'http'],
    [undefined, 'http-metrics', 'http'],
    [undefined, 'HTTP-web', 'http'],
    [undefined, 'http1', 'http'],
    [undefined, 'http2-api', 'http'],
    [undefined, 'h2c', 'http'],
    [undefined, 'grpc', 'grpc'],
    [undefined, 'grpc-health', 'grpc'],
    [undefined, 'grpc-web', 'grpc'],
    [undefined, 'https', 'kernel'],
    [undefined, 'httpx', 'kernel'],
    [undefined, 'grpclb', 'kernel'],
    [undefined, 'otlp-grpc', 'kernel'],
    [undefined, 'redis', 'kernel'],
    [undefined, '', 'kernel'],
  ] as const) {
    const said = appProtocol === undefined ? `name ${JSON.stringify(name)}` : `appProtocol ${appProtocol}, name ${name}`
    test(`${said}: ${expected}`, () => {
      const found = portProtocol(aPort({ name, appProtocol }), undefined)!
      assert.equal(found.isForEnvoy ? found.protocol : 'kernel', expected)
      assert.ok(found.reason.includes(appProtocol ?? name))
    })
  }
  test('the setting protocol counts before all that the port says', () => {
    fc.assert(
      fc.property(fc.string(), fc.option(fc.string(), { nil: undefined }), (name, appProtocol) => {
        const found = portProtocol(aPort({ name, appProtocol }), 'tcp')
        assert.deepEqual(found, { protocol: 'tcp', isForEnvoy: true, reason: 'setting protocol: tcp' })
      }),
    )
  })
  test('every TCP port has a rule, UDP and SCTP none', () => {
    fc.assert(
      fc.property(fc.string(), fc.option(fc.string(), { nil: undefined }), (name, appProtocol) => {
        assert.ok(portProtocol(aPort({ name, appProtocol }), undefined))
        assert.equal(portProtocol(aPort({ name, appProtocol, protocol: 'UDP' }), 'http'), undefined)
        assert.equal(portProtocol(aPort({ name, appProtocol, protocol: 'SCTP' }), 'http'), undefined)
      }),
    )
  })
})

describe('why a port is the kernel layer’s', () => {
  for (const [name, reason] of [
    ['https', 'port name https: Envoy sees no requests within TLS'],
    ['otlp-grpc', /^port name otlp-grpc: .* setting protocol: grpc$/],
    ['web-http', /^port name web-http: .* setting protocol: http$/],
    ['db', /^port name db: the setting protocol or overlay /],
    ['', /^neither port name nor appProtocol: /],
  ] as const) {
    test(`of a port named ${JSON.stringify(name)} the reason fits the name`, () => {
      const given = portProtocol(aPort({ name }), undefined)!.reason
      if (typeof reason === 'string') assert.equal(given, reason)
      else assert.match(given, reason)
    })
  }
  test('a port named grpc is never said to be plain TCP', () => {
    assert.equal(portProtocol(aPort({ name: 'grpc' }), undefined)!.reason, 'port name grpc')
  })
})

describe('the layer that follows', () => {
  const layerOf = (name: string, appProtocol: string | undefined, settings: Readonly<Record<string, string>>) => {
    const annotations = Object.entries(settings).map(([key, value]) => [`config.lightpath.cloud/${name}-${key}`, value])
    const service = aService({ ports: [aPort({ name, appProtocol })], annotations: Object.fromEntries(annotations) })
    const slice = aSlice([anEndpoint('10.244.1.2')], { ports: [{ name, protocol: 'TCP', port: 8080 }] })
    const { wants, ...rest } = stateOf(planOf(aNamespace('whoami'), service, slice), `whoami/whoami/${name}`).layer
    return [wants, 'protocol' in rest ? rest.protocol : undefined, rest.reason]
  }
  test('the setting protocol alone brings a port to Envoy, as tcp too', () => {
    assert.deepEqual(layerOf('db', undefined, { protocol: 'grpc' }), ['envoy', 'grpc', 'setting protocol: grpc'])
    assert.deepEqual(layerOf('http', undefined, { protocol: 'tcp' }), ['envoy', 'tcp', 'setting protocol: tcp'])
  })
  test('overlay: false keeps it in the kernel layer all the same', () => {
    assert.equal(layerOf('db', undefined, { protocol: 'http', overlay: 'false' })[0], 'kernel')
  })
  test('overlay: true promotes a port as tcp for which no rule has a protocol', () => {
    assert.deepEqual(layerOf('db', undefined, { overlay: 'true' }).slice(0, 2), ['envoy', 'tcp'])
    assert.deepEqual(layerOf('grpc', undefined, { overlay: 'true' }), ['envoy', 'grpc', 'port name grpc'])
  })
})
