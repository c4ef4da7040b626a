import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { silentLog, until } from '../sources/testing.ts'
import { makeServerCertificate } from '../webhook/certificate.ts'
import { listenForAgents } from './listener.ts'

const address = { address: '127.0.0.1', port: 0 }
const directory = mkdtempSync(join(tmpdir(), 'lightpath-listener-'))

before(() => {
  const hour = 3600e3
  const { certificate, key } = makeServerCertificate(
    ['127.0.0.1'],
    new Date(Date.now() - hour),
    new Date(Date.now() + hour),
  )
  writeFileSync(join(directory, 'tls.crt'), certificate)
  writeFileSync(join(directory, 'tls.key'), key)
})

after(() => rmSync(directory, { recursive: true }))

/** Resolves when a client that never ends its side has lost its connection. */
async function losesConnection(
  certificate: string | undefined,
  take: (connection: Socket) => void,
  talk: (client: Socket) => void,
): Promise<void> {
  const listener = await listenForAgents({ address, certificate, log: silentLog, patienceMs: 100 }, take)
  const client = connect({ port: listener.port, allowHalfOpen: true })
  let isOver = false
  client.on('error', () => undefined).resume()
  for (const event of certificate === undefined ? ['close'] : ['close', 'end']) client.on(event, () => (isOver = true))
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
    directory,
    () => assert.fail('it is taken'),
    () => undefined,
  ))
