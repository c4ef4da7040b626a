import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { type Certificates, makeServerCertificate } from '../certificates/certificate.ts'
import { silentLog, until } from '../sources/testing.ts'
import { listenForAgents } from './listener.ts'

const address = { address: '127.0.0.1', port: 0 }
const hour = 3600e3
const made = makeServerCertificate(['127.0.0.1'], new Date(Date.now() - hour), new Date(Date.now() + hour))

/** Resolves when a client that never ends its side has lost its connection. */
async function losesConnection(
  certificates: Certificates | undefined,
  take: (connection: Socket) => void,
  talk: (client: Socket) => void,
): Promise<void> {
  const listener = await listenForAgents({ address, certificates, log: silentLog, patienceMs: 100 }, take)
  const client = connect({ port: listener.port, allowHalfOpen: true })
  let isOver = false
  client.on('error', () => undefined).resume()
  for (const event of certificates === undefined ? ['close'] : ['close', 'end']) client.on(event, () => (isOver = true))
  const talking = setInterval(() => talk(client), 20)
  try {
    await until(
      () => isOver,
      () => 'the connection stays',
    )
  } finally {
    clearInterval(talking)
    client.destroy()
    listener.stop()
  }
}

test('a client that does not close a connection that was ended loses it', () =>
  losesConnection(
    undefined,
    connection => connection.resume().end(),
    client => client.write('x'),
  ))

test('a client that does not finish the TLS handshake loses its connection', () =>
  losesConnection(
    use => async () => use(made),
    () => assert.fail('it is taken'),
    () => undefined,
  ))
