import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { client, eventually, freePort, rawEndpoint, serve, servicePort } from './envoy.ts'

test('bytes pass in both directions, whoever speaks first', async t => {
  const { port } = await rawEndpoint(t, socket => {
    socket.write('hello;')
    socket.on('data', chunk => socket.write(`echo ${chunk};`))
  })
  const state = await servicePort('echo', 'tcp', [port])
  await serve(t, [state])
  const raw = await client(t, state.port.port)
  await raw.until('hello;')
  raw.send('one')
  await raw.until('echo one;')
})

test('a client that has ended its side still gets the answer', async t => {
  const { port } = await rawEndpoint(t, socket => {
    let size = 0
    socket.on('data', chunk => {
      size += chunk.length
    })
    socket.on('end', () => setTimeout(() => socket.end(`got ${size}`), 200))
  })
  const state = await servicePort('half', 'tcp', [port])
  await serve(t, [state])
  const raw = await client(t, state.port.port)
  raw.send('x'.repeat(1000))
  raw.end()
  assert.equal(await raw.untilEnd(), 'got 1000')
})

test('a client may go on sending after the endpoint has ended its side', async t => {
  let received = ''
  const { port } = await rawEndpoint(t, socket => {
    socket.end('all from me;')
    socket.on('data', chunk => {
      received += chunk.toString()
    })
  })
  const state = await servicePort('half', 'tcp', [port])
  await serve(t, [state])
  const raw = await client(t, state.port.port)
  await raw.untilEnd()
  raw.send('and this from me')
  await eventually(
    () => received === 'and this from me',
    () => received,
  )
})

test('a client sees a reset of the endpoint as a reset, not as the end of its data', async t => {
  const { port } = await rawEndpoint(t, socket => {
    socket.write('half of it')
    socket.on('data', () => socket.resetAndDestroy())
  })
  const state = await servicePort('reset', 'tcp', [port])
  await serve(t, [state])
  const raw = await client(t, state.port.port)
  await raw.until('half of it')
  raw.send('go')
  await raw.untilEnd()
  assert.equal(raw.ended, 'reset')
})

test('an endpoint sees a reset of the client as a reset', async t => {
  const errors: string[] = []
  const { port } = await rawEndpoint(t, socket => {
    socket.on('error', (error: NodeJS.ErrnoException) => errors.push(error.code ?? ''))
    socket.write('hello')
  })
  const state = await servicePort('reset', 'tcp', [port])
  await serve(t, [state])
  const raw = await client(t, state.port.port)
  await raw.until('hello')
  raw.reset()
  await eventually(
    () => errors.includes('ECONNRESET'),
    () => `ECONNRESET in ${errors}`,
  )
})

test('a connection to an endpoint where nobody listens goes to another one', async t => {
  const { port } = await rawEndpoint(t, socket => void socket.write('here;'))
  const state = await servicePort('refused', 'tcp', [await freePort(), port])
  await serve(t, [state])
  for (let i = 0; i < 20; i++) await (await client(t, state.port.port)).until('here;')
})

test('long-lived connections are shared out evenly', async t => {
  const open = [0, 0, 0]
  const endpoints = await Promise.all(
    open.map((_, index) =>
      rawEndpoint(t, socket => {
        open[index]! += 1
        socket.write('hello;')
      }),
    ),
  )
  const state = await servicePort(
    'even',
    'redis',
    endpoints.map(({ port }) => port),
  )
  await serve(t, [state])
  for (let i = 0; i < 60; i++) await (await client(t, state.port.port)).until('hello;')
  // At random the fewest of 60 would often be below 15.
  assert.ok(Math.min(...open) >= 15, `${open}`)
})

test('without an idle-timeout a silent connection stays; with one it is closed', async t => {
  const { port } = await rawEndpoint(t, socket => {
    socket.on('data', chunk => void socket.write(chunk))
  })
  const stays = await servicePort('stays', 'tcp', [port])
  const closes = await servicePort('closes', 'tcp', [port], { idleTimeout: 300 })
  await serve(t, [stays, closes])
  const [silent, idle] = [await client(t, stays.port.port), await client(t, closes.port.port)]
  await idle.untilEnd()
  await sleep(500)
  assert.equal(silent.ended, undefined)
  silent.send('still here')
  await silent.until('still here')
})

test('a Service without endpoints closes its connections', async t => {
  const state = await servicePort('empty', 'tcp', [])
  await serve(t, [state])
  await (await client(t, state.port.port)).untilEnd()
})
