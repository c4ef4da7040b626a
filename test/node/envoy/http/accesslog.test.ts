import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hostPort } from '../../../../src/net/address.ts'
import { type AccessLogLine, eventually, exchange, freePort, httpEndpoint, serve, servicePort } from '../envoy.ts'

test('whoever breaks off HTTP is in the access log with the Service and the address that it came to', async t => {
  const port = await freePort()
  const states = await Promise.all(
    ['127.0.0.1', '127.0.0.2'].map(async (vip, i) => {
      const endpoint = await httpEndpoint(t, (_, response) => response.end('ok'))
      const state = await servicePort(`misnamed-${i}`, 'http', [endpoint.port])
      return { ...state, vip, port: { ...state.port, port } }
    }),
  )
  const { accessLog } = await serve(t, states)
  assert.match(await exchange(t, port, 'GET / HTTP/1.1\r\nno header\r\n\r\n', '127.0.0.2'), /^HTTP\/1\.1 400 /)
  await eventually(
    () => accessLog().length === 1,
    () => JSON.stringify(accessLog()),
  )
  const [{ service, frontend, flags, code }] = accessLog() as [AccessLogLine]
  assert.deepEqual([service, frontend, flags, code], [states[1]!.id, `127.0.0.2:${port}`, 'DPE', 400])
})

test('the access log tells of failures alone, and of all requests where that is set', async t => {
  const { port } = await httpEndpoint(t, (request, response) => {
    response.statusCode = Number(request.url!.slice(1))
    response.end('x')
  })
  const [errors, all, none] = await Promise.all(
    (['errors', 'true', 'false'] as const).map(accessLog =>
      servicePort(`log-${accessLog}`, 'http', [port], { accessLog }),
    ),
  )
  const nacked = await servicePort('log-tcp', 'tcp', [1])
  const envoy = await serve(t, [errors!, all!, none!, nacked])
  for (const state of [errors!, all!, none!]) {
    for (const code of [200, 404, 503]) {
      await exchange(
        t,
        state.port.port,
        `POST /${code} HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nConnection: close\r\n\r\nb`,
      )
    }
  }
  await exchange(t, nacked.port.port, '')
  const linesOf = (service: string) => envoy.accessLog().filter(line => line.service === service)
  await eventually(
    () => linesOf(all!.id).length === 3 && linesOf(nacked.id).length === 1,
    () => JSON.stringify(envoy.accessLog()),
  )
  assert.deepEqual(
    linesOf(errors!.id).map(({ code }) => code),
    [503],
  )
  assert.deepEqual(linesOf(none!.id), [])
  assert.equal(linesOf(nacked.id)[0]?.flags, 'UF,URX')
  const { time, durationMs, requestId, client: from, frontend, ...line } = linesOf(errors!.id)[0]!
  assert.deepEqual(line, {
    service: errors!.id,
    protocol: 'HTTP/1.1',
    method: 'POST',
    host: 'h',
    path: '/503',
    code: 503,
    details: 'via_upstream',
    flags: '-',
    failure: null,
    attempts: 1,
    endpoint: `127.0.0.1:${port}`,
    bytesReceived: 1,
    bytesSent: 1,
  })
  assert.match(String(time), /^\d{4}-/)
  assert.equal(typeof durationMs, 'number')
  assert.equal(String(requestId).length, 36)
  assert.match(String(from), /^127\.0\.0\.1:/)
  assert.equal(frontend, hostPort(errors!.vip, errors!.port.port))
})
