import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import { ScopedRouteConfigurationSchema } from '../../../../src/envoy/api/envoy/config/route/v3/scoped_route_pb.js'
import { type Resource, typeUrls } from '../../../../src/envoy/resource.ts'
import { configurationOf } from '../../../../src/envoy/resources/resources.ts'
import { client, eventually, exchange, freePort, httpEndpoint, serve, servicePort } from '../envoy.ts'
import { echoHead, get, throughEnvoy, throughEnvoyToBytes } from './lab.ts'

test('the endpoint sees what tells that a request came through Lightpath', async t => {
  const port = await throughEnvoy(t, (request, response) => response.end(request.rawHeaders.join('\n')), {
    upstreamRequestTimeout: 5000,
  })
  const answer = await exchange(t, port, get)
  assert.match(answer, /X-Envoy-Attempt-Count\n1\n?/)
  assert.match(answer, /X-Envoy-Expected-Rq-Timeout-Ms\n5000/)
  assert.match(answer, /X-Forwarded-Proto\nhttp\n/)
  assert.match(answer, /X-Request-Id\n[0-9a-f-]{36}\n/)
  assert.match(answer, /X-Forwarded-For\n/)
})

test('of Service ports that share a listener each request goes to the one that it was sent to, whatever its headers say', async t => {
  const port = await freePort()
  const states = await Promise.all(
    [1, 2, 3].map(async i => {
      const endpoint = await httpEndpoint(t, (request, response) =>
        response.end(`endpoint ${i} ${request.headers['x-lightpath-address']}`),
      )
      const state = await servicePort(`shared-${i}`, 'http', [endpoint.port])
      return { ...state, vip: `127.0.0.${i}`, port: { ...state.port, port } }
    }),
  )
  const { accessLog } = await serve(t, states, {
    change: resource => (resource.name === `127.0.0.3:${port}` ? withoutScope(resource) : resource),
  })
  const ask = (host: string) =>
    exchange(
      t,
      port,
      `GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Lightpath-Address: 127.0.0.1:${port}\r\nConnection: close\r\n\r\n`,
      host,
    )
  assert.match(await ask('127.0.0.1'), /endpoint 1 undefined/)
  assert.match(await ask('127.0.0.2'), /endpoint 2 undefined/)
  // An address without a scope: as if there were no endpoint.
  assert.match(await ask('127.0.0.3'), /^HTTP\/1\.1 503 /)
  await eventually(
    () => accessLog().length === 1,
    () => JSON.stringify(accessLog()),
  )
  assert.deepEqual([accessLog()[0]!.service, accessLog()[0]!.code], ['test/shared-3/http', 503])
})

/** Its scope is that of an address to which nobody connects. */
function withoutScope(resource: Resource): Resource {
  if (resource.typeUrl !== typeUrls.scope) return resource
  const scope = fromBinary(ScopedRouteConfigurationSchema, resource.encode())
  scope.key!.fragments[0]!.type = { case: 'stringKey', value: 'nowhere' }
  return { ...resource, encode: () => toBinary(ScopedRouteConfigurationSchema, scope) }
}

test('a Service port that leaves Envoy answers once more on each connection, and closes it', async t => {
  const { port: endpoint } = await httpEndpoint(t, (_, response) => response.end('ok'))
  const state = await servicePort('whoami', 'http', [endpoint])
  await serve(t, [state], { isDraining: true })
  const answer = await exchange(t, state.port.port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  assert.match(answer, /^HTTP\/1\.1 200 /)
  assert.match(answer, /\r\nConnection: close\r\n/)
})

test('headers that a proxy before us has set stay: protocol, request id, client address', async t => {
  const port = await throughEnvoy(t, (request, response) => response.end(request.rawHeaders.join('\n')))
  const answer = await exchange(
    t,
    port,
    'GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nX-Request-Id: mine\r\nX-Forwarded-For: 192.0.2.1\r\nConnection: close\r\n\r\n',
  )
  assert.match(answer, /X-Forwarded-Proto\nhttps\n/)
  assert.match(answer, /X-Request-Id\nmine\n/)
  assert.match(answer, /X-Forwarded-For\n192\.0\.2\.1, ?[\d.]+\n/)
})

for (const [forwardedHeaders, clientMark, isAdded] of [
  ['auto', undefined, true],
  ['auto', 0x4000, false],
  ['add', 0x4000, true],
  ['none', undefined, false],
] as const)
  test(`with forwarded-headers ${forwardedHeaders} endpoints that ${clientMark ? '' : 'do not '}see the client are${isAdded ? '' : ' not'} told of it`, async t => {
    const { port } = await httpEndpoint(t, (request, response) => response.end(request.rawHeaders.join('\n')))
    const state = await servicePort('whoami', 'http', [port], { forwardedHeaders })
    const resources = configurationOf([state], { clientMark })
    const routes = resources.filter(({ typeUrl }) => typeUrl.endsWith('RouteConfiguration'))
    assert.equal(
      routes.filter(route => Buffer.from(route.encode()).includes('x-forwarded-for')).length,
      Number(isAdded),
    )
    if (clientMark !== undefined) return
    await serve(t, [state])
    const answer = await exchange(t, state.port.port, get)
    assert.equal(/X-Forwarded-For\n127/.test(answer), isAdded)
    assert.equal(/X-Forwarded-Proto\nhttp\n/.test(answer), isAdded)
  })

test('any Host, path and header reaches the endpoint as the client wrote it, and so do answers', async t => {
  const port = await throughEnvoyToBytes(t, head =>
    echoHead(head).replace('200 OK', '200 Quite Fine\r\nX-AnSwEr: KePt\r\nServer: mine'),
  )
  const answer = await exchange(
    t,
    port,
    'GET //a/./b/../c%2Fd%2e?x=%00&y=1 HTTP/1.1\r\nHost: any_thing:1234\r\nX-MiXeD: CaSe\r\nunder_score: 1\r\nX-Bytes: caf\xe9\r\nConnection: close\r\n\r\n',
  )
  assert.match(answer, /^HTTP\/1\.1 200 Quite Fine\r\n/)
  assert.match(answer, /\r\nX-AnSwEr: KePt\r\n/)
  assert.match(answer, /\r\nServer: mine\r\n/)
  assert.match(answer, /GET \/\/a\/\.\/b\/\.\.\/c%2Fd%2e\?x=%00&y=1 HTTP\/1\.1\r\nHost: any_thing:1234\r\n/)
  assert.match(answer, /\r\nX-MiXeD: CaSe\r\n/)
  assert.match(answer, /\r\nunder_score: 1\r\n/)
  assert.match(answer, /\r\nX-Bytes: caf\xe9\r\n/)
})

test('150 headers and a header of 200 kB pass, in requests and in answers', async t => {
  const port = await throughEnvoy(t, (request, response) => {
    for (let i = 0; i < 150; i++) response.setHeader(`X-Out-${i}`, i)
    response.setHeader('X-Large', 'a'.repeat(200_000))
    response.end(
      `${Object.keys(request.headers).filter(name => name.startsWith('x-in-')).length} ${request.headers['x-large']?.length}`,
    )
  })
  const many = Array.from({ length: 150 }, (_, i) => `X-In-${i}: ${i}\r\n`).join('')
  const answer = await exchange(
    t,
    port,
    `GET / HTTP/1.1\r\nHost: a\r\n${many}X-Large: ${'a'.repeat(200_000)}\r\nConnection: close\r\n\r\n`,
  )
  assert.match(answer, /^HTTP\/1\.1 200 /)
  assert.equal(answer.match(/\r\nX-Out-\d+: /g)?.length, 150)
  assert.match(answer, /\b150 200000\b/)
})

test('an absolute-form request behind another one reaches the endpoint with its host', async t => {
  const port = await throughEnvoy(t, (request, response) => response.end(`${request.headers.host} ${request.url}`))
  const answer = await exchange(
    t,
    port,
    'GET / HTTP/1.1\r\nHost: a\r\n\r\nGET http://other.example/p?q HTTP/1.1\r\nHost: ignored\r\nConnection: close\r\n\r\n',
  )
  assert.match(answer, /other\.example \/p\?q/)
})

test('a malformed request is refused with 400 and harms nobody', async t => {
  const port = await throughEnvoy(t, (_, response) => response.end('fine'))
  const raw = await client(t, port)
  raw.send('GARBAGE\r\n\r\n')
  await raw.until('400 Bad Request')
  assert.match(await exchange(t, port, get), /fine/)
})
