import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { connect } from 'node:tls'
import { silentLog } from '../sources/testing.ts'
import { startWebhook, type Webhook } from '../webhook/server.ts'
import { makeServerCertificate, type ServerCertificate } from './certificate.ts'
import { certificateFiles } from './files.ts'

const hour = 3600e3
const make = () => makeServerCertificate(['127.0.0.1'], new Date(Date.now() - hour), new Date(Date.now() + hour))
let directory: string
let webhook: Webhook
let volumes = 0

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'lightpath-certificate-'))
  const certificates = certificateFiles.bind(undefined, directory)
  webhook = await startWebhook({ certificates, address: '127.0.0.1', port: 0, everyMs: 20, log: silentLog })
})

afterEach(async () => {
  await webhook.stop()
  rmSync(directory, { recursive: true })
})

test('the webhook serves the certificate of a mounted Secret from when it is there, and its successors', async () => {
  assert.equal(await served(), undefined)
  for (const made of [make(), make(), make()]) {
    mount(made)
    await untilServed(made)
  }
})

test('a key that does not belong to the certificate leaves the one before in place', async () => {
  const [first, second] = [make(), make()]
  mount(first)
  await untilServed(first)
  mount({ ...second, key: first.key })
  await delay(100)
  assert.equal(await served(), serial(first))
  mount(second)
  await untilServed(second)
})

/** As the kubelet does: new files beside the old, and then all of them at once. */
function mount({ certificate, key }: ServerCertificate): void {
  const volume = `..volume-${volumes++}`
  mkdirSync(join(directory, volume))
  writeFileSync(join(directory, volume, 'tls.crt'), certificate)
  writeFileSync(join(directory, volume, 'tls.key'), key)
  symlinkSync(volume, join(directory, '..data-new'))
  renameSync(join(directory, '..data-new'), join(directory, '..data'))
  for (const name of ['tls.crt', 'tls.key']) {
    rmSync(join(directory, name), { force: true })
    symlinkSync(join('..data', name), join(directory, name))
  }
}

async function untilServed(made: ServerCertificate): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    if ((await served()) === serial(made)) return
    await delay(20)
  }
  throw new Error('the certificate is not served')
}

function serial({ certificate }: ServerCertificate): string {
  return new X509Certificate(certificate).serialNumber
}

/** The serial number of what is served; undefined while there is nothing. */
function served(): Promise<string | undefined> {
  return new Promise(resolve => {
    const socket = connect({ host: '127.0.0.1', port: webhook.port, rejectUnauthorized: false }, () => {
      resolve(socket.getPeerX509Certificate()?.serialNumber)
      socket.destroy()
    })
    socket.on('error', () => resolve(undefined))
  })
}
