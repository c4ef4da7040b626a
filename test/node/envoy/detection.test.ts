import assert from 'node:assert/strict'
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2'
import type { Socket } from 'node:net'
import { availableParallelism } from 'node:os'
import { describe, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  client,
  eventually,
  exchange,
  freePort,
  httpEndpoint,
  type RawClient,
  rawEndpoint,
  serve,
  servicePort,
} from './envoy.ts'

/** The settings of http ports by their listeners. */
const listeners = { 'a listener of its own': { idleTimeout: 60_000 }, 'a shared listener': {} } as const
type Kind = keyof typeof listeners
const kinds = Object.keys(listeners) as readonly Kind[]

/** A http port whose endpoint is given connections as they are. */
async function misnamed(t: TestContext, kind: Kind, onConnection: (socket: Socket) => void, vip = '127.0.0.1') {
  const endpoint = await rawEndpoint(t, onConnection)
  const state = await servicePort('misnamed', 'http', [endpoint.port], listeners[kind])
  const envoy = await serve(t, [{ ...state, vip, family: vip.includes(':') ? 'IPv6' : 'IPv4' }])
  const spoke = () => envoy.observations.map(({ service, spoke }) => `${service} ${spoke}`)
  return { port: state.port.port, accessLog: envoy.accessLog, spoke }
}

/** All that one connection of a client brought to the endpoint. */
async function echoed(raw: RawClient, bytes: string): Promise<string> {
  raw.send(bytes)
  return raw.until(bytes)
}

test('how long a silent client is waited for is set for the node, and for a port', async t => {
  const endpoint = await rawEndpoint(t, socket => void socket.write('220 mail ESMTP\r\n'))
  const [ofNode, ofPort] = await Promise.all(
    [{}, { firstBytesTimeout: 15_000 }].map((settings, i) =>
      servicePort(`silent-${i}`, 'http', [endpoint.port], settings),
    ),
  )
  await serve(t, [ofNode!, ofPort!], { firstBytesTimeout: 100 })
  const patient = await client(t, ofPort!.port.port)
  const hasty = await client(t, ofNode!.port.port)
  await hasty.until('220 mail ESMTP\r\n')
  assert.equal(patient.received, '')
})

test('however many clients connect at once, each is waited for until it speaks, and is served as TCP when its time is over', async t => {
  const endpoint = await rawEndpoint(t, socket => {
    const greeting = setTimeout(() => socket.write('220 mail ESMTP\r\n'), 200)
    socket.on('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'))
    socket.on('close', () => clearTimeout(greeting))
  })
  const [patient, hasty] = [
    await servicePort('patient', 'http', [endpoint.port], { firstBytesTimeout: 3000 }),
    await servicePort('hasty', 'http', [endpoint.port], { firstBytesTimeout: 100 }),
  ]
  await serve(t, [patient, hasty])
  const clients = await Promise.all(
    Array.from({ length: 200 * availableParallelism() }, () => client(t, patient.port.port)),
  )
  // Who waits for less does not wait for these.
  const soon = await client(t, hasty.port.port)
  await soon.until('220 mail ESMTP\r\n')
  assert.ok(clients.every(({ received }) => received === ''))
  const [speaking, silent] = [clients.slice(0, clients.length / 2), clients.slice(clients.length / 2)]
  for (const one of speaking) one.send('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  const answers = await Promise.all(speaking.map(one => one.untilEnd()))
  assert.equal(answers.filter(answer => /x-envoy-upstream-service-time/i.test(answer)).length, speaking.length)
  // Too little to know it.
  const brief = await client(t, hasty.port.port)
  for (const one of [silent[0]!, brief]) {
    one.send('P')
    await one.until('HTTP/1.1 200 OK')
  }
  await Promise.all(silent.slice(1).map(one => one.until('220 mail ESMTP\r\n')))
})

test('a connection that stays open is reported no more after a while, and has no line of a failed attempt while it lasts', async t => {
  const echo = await rawEndpoint(t, socket => void socket.pipe(socket))
  const greeter = await rawEndpoint(t, socket => void socket.write('220 mail ESMTP\r\n'))
  const settings = { ...listeners['a listener of its own'], lbPolicy: 'ROUND_ROBIN' } as const
  const [secure, mail] = [
    await servicePort('secure', 'http', [await freePort(), echo.port], { ...settings, firstBytesTimeout: 15_000 }),
    await servicePort('mail', 'http', [greeter.port], settings),
  ]
  const envoy = await serve(t, [secure, mail], { firstBytesTimeout: 100 })
  const greeted = await client(t, mail.port.port)
  // Of two that a worker has one is tried at the closed port first.
  const clients: RawClient[] = []
  for (let i = 0; i <= availableParallelism(); i++) {
    const raw = await client(t, secure.port.port)
    await echoed(raw, '\u0016\u0003\u0001\u0000')
    clients.push(raw)
    // A worker reports two a second.
    await sleep(600)
  }
  await greeted.until('220 mail ESMTP\r\n')
  await sleep(9000)
  const reportsOf = (what: string) => envoy.observations.filter(({ spoke }) => spoke === what).length
  assert.equal(reportsOf('TLS'), clients.length)
  // After two seconds, and after four.
  assert.ok([1, 2].includes(reportsOf('server first')), `${reportsOf('server first')}`)
  assert.deepEqual(envoy.accessLog(), [])
  for (const raw of clients) raw.end()
  await eventually(
    () => envoy.accessLog().length > 0,
    () => JSON.stringify(envoy.observations),
  )
  assert.deepEqual(new Set(envoy.accessLog().map(({ service }) => service)), new Set([secure.id]))
})

for (const kind of kinds) {
  describe(`a port with ${kind} that is named http and speaks something else`, () => {
    for (const vip of ['127.0.0.1', '::1']) {
      test(`gets the bytes of a client that speaks first unchanged, at ${vip}`, async t => {
        const { port } = await misnamed(t, kind, socket => void socket.pipe(socket), vip)
        for (const [what, bytes] of [
          ['TLS', '\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003'],
          ['AMQP', 'AMQP\u0000\u0000\u0009\u0001'],
          ['Redis', '*1\r\n$4\r\nPING\r\n'],
          ['Redis, inline', 'PING\r\n'],
          ['PROXY protocol', 'PROXY TCP4 10.0.0.1 10.0.0.2 1000 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n'],
          ['PROXY protocol, version 2', '\r\n\r\n\u0000\r\nQUIT\n\u0021\u0011\u0000\u000c'],
          ['PostgreSQL', '\u0000\u0000\u0000\u0008\u0004\u00d2\u0016\u002f'],
          ['MQTT', '\u0010\u000c\u0000\u0004MQTT\u0004\u0002\u0000\u003c\u0000\u0000'],
          ["a proxy's client", 'GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n'],
          ['a tunnel', 'CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n'],
          ['an upgrade', 'POST /attach HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n'],
          ['binary without a newline', '\u00ff\u00fe\u0000\u0001'],
        ] as const) {
          const raw = await client(t, port, vip)
          assert.equal(await echoed(raw, bytes), bytes, what)
          assert.equal(await echoed(raw, 'more'), `${bytes}more`, what)
          raw.end()
          assert.equal(await raw.untilEnd(), `${bytes}more`, what)
        }
      })
    }

    test('speaks first where its protocol wants that, and ends no connection that is silent', async t => {
      const { port } = await misnamed(t, kind, socket => {
        socket.write('220 mail ESMTP\r\n')
        socket.pipe(socket)
      })
      const [raw, silent] = [await client(t, port), await client(t, port)]
      await raw.until('220 mail ESMTP\r\n')
      assert.match(await echoed(raw, 'EHLO a\r\n'), /EHLO a\r\n$/)
      await silent.until('220 mail ESMTP\r\n')
      assert.equal(silent.ended, undefined)
    })

    test('is reported with what it speaks, once a client has been answered by a server that spoke first', async t => {
      const { port, spoke } = await misnamed(t, kind, socket => void socket.write('220 mail ESMTP\r\n'))
      const raw = await client(t, port)
      await raw.until('220 mail ESMTP\r\n')
      const isReported = () => spoke().includes('test/misnamed/http server first')
      await eventually(isReported, () => `${spoke()}`)
    })

    test('is reported where its clients speak TLS or no HTTP, and not for tunnels and idle connections', async t => {
      const { port, spoke } = await misnamed(t, kind, socket => {
        socket.on('data', () => socket.end('HTTP/1.1 408 Request Timeout\r\n\r\n'))
        setTimeout(() => socket.end('HTTP/1.1 408 Request Timeout\r\n\r\n'), 100)
      })
      const [idle, tunnel] = [await client(t, port), exchange(t, port, 'CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n')]
      await Promise.all([idle.untilEnd(), tunnel])
      await exchange(t, port, 'AMQP\u0000\u0000\u0009\u0001')
      await exchange(t, port, '\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003')
      await eventually(
        () => spoke().length >= 2,
        () => `${spoke()}`,
      )
      assert.deepEqual(spoke().toSorted(), ['test/misnamed/http TLS', 'test/misnamed/http no HTTP'])
    })

    test('has no server that speaks first where its clients do, of however many not all are reported', async t => {
      const { port, spoke } = await misnamed(t, kind, socket => void socket.write('220 mail ESMTP\r\n'))
      for (let i = 0; i < 12; i++) {
        const raw = await client(t, port)
        raw.send('\u0016\u0003\u0001\u0000')
        await raw.until('220 mail ESMTP\r\n')
        raw.end()
      }
      await eventually(
        () => spoke().length >= 2,
        () => `${spoke()}`,
      )
      // What a server speaks is looked at every two seconds, and as the connection ends.
      await sleep(3000)
      assert.deepEqual(new Set(spoke()), new Set(['test/misnamed/http TLS']))
    })

    test('has no line in the access log for what it answers well', async t => {
      const { port, accessLog } = await misnamed(t, kind, socket => void socket.pipe(socket))
      const raw = await client(t, port)
      await echoed(raw, '\u0016\u0003\u0001\u0000')
      raw.end()
      await raw.untilEnd()
      await sleep(1500)
      assert.deepEqual(accessLog(), [])
    })
  })

  describe(`a http port with ${kind}`, () => {
    test('serves HTTP per request and everything else per connection', async t => {
      const endpoints = await Promise.all(
        ['a', 'b'].map(async name => {
          const { port } = await httpEndpoint(t, (_, response) => response.end(name))
          return port
        }),
      )
      const state = await servicePort('both', 'http', endpoints, { ...listeners[kind], lbPolicy: 'ROUND_ROBIN' })
      await serve(t, [state])
      const raw = await client(t, state.port.port)
      for (let i = 1; i <= 4; i++) {
        raw.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
        await eventually(
          () => raw.received.split('HTTP/1.1 200').length - 1 === i,
          () => raw.received,
        )
      }
      assert.ok(raw.received.includes('\r\n\r\na') && raw.received.includes('\r\n\r\nb'), raw.received)
      // A TLS ClientHello gets the answer of an endpoint that speaks plain HTTP, as without Envoy.
      const answer = await exchange(t, state.port.port, '\u0016\u0003\u0001\u0002\u0000\u0001\u0000\r\n\r\n')
      assert.doesNotMatch(answer, /x-envoy|server: envoy/i)
    })

    test('takes unknown methods and HTTP/1.0 for HTTP', async t => {
      const { port } = await rawEndpoint(t, socket => {
        socket.on('data', chunk => socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${chunk.length}\r\n\r\n${chunk}`))
      })
      const state = await servicePort('methods', 'http', [port], listeners[kind])
      await serve(t, [state])
      for (const line of ['BREW /pot HTTP/1.1', 'GET / HTTP/1.0']) {
        const answer = await exchange(t, state.port.port, `${line}\r\nHost: x\r\nConnection: close\r\n\r\n`)
        // Which Envoy adds to requests.
        assert.match(answer, /x-envoy-attempt-count: 1/i, line)
      }
    })

    test('takes HTTP/2 with prior knowledge for HTTP', async t => {
      const server = createHttp2Server((request, response) =>
        response.end(String(request.headers['x-envoy-attempt-count'])),
      )
      const { port } = await rawEndpoint(t, socket => server.emit('connection', socket))
      const state = await servicePort('h2c', 'http', [port], listeners[kind])
      await serve(t, [state])
      const session = connectHttp2(`http://127.0.0.1:${state.port.port}`)
      const chunks: Buffer[] = []
      try {
        for await (const chunk of session.request({ ':path': '/' })) chunks.push(chunk as Buffer)
      } finally {
        // Before Envoy ends, which resets a connection where it has not read all: the session would fail with that.
        session.destroy()
      }
      assert.equal(Buffer.concat(chunks).toString(), '1')
    })

    test('waits for the rest of a first line that is long', async t => {
      const { port } = await rawEndpoint(t, socket => {
        socket.once('data', chunk => socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${chunk.length}\r\n\r\n${chunk}`))
      })
      const state = await servicePort('long', 'http', [port], { ...listeners[kind], firstBytesTimeout: 15_000 })
      await serve(t, [state])
      const raw = await client(t, state.port.port)
      for (const part of ['BREW /', ...Array.from({ length: 6 }, () => 'x'.repeat(4000))]) {
        await sleep(20)
        raw.send(part)
      }
      raw.send(' HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
      assert.match(await raw.untilEnd(), /x-envoy-attempt-count: 1/i)
    })

    test('serves a request on a connection that was silent for seconds', async t => {
      const { port } = await httpEndpoint(t, (_, response) => response.end('ok'))
      const state = await servicePort('silent', 'http', [port], listeners[kind])
      await serve(t, [state])
      const raw = await client(t, state.port.port)
      await sleep(1500)
      raw.send('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
      assert.match(await raw.untilEnd(), /^HTTP\/1\.1 200 OK\r\n.*ok/s)
    })
  })
}
