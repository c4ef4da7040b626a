import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, type RequestOptions, request } from 'node:https'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { makeServerCertificate } from '../../src/certificates/certificate.ts'
import { serviceOf, vectors } from '../../src/services/handover/vectors.ts'

const program = fileURLToPath(new URL('../../bin/lightpath', import.meta.url))
const mib = 1024 * 1024
const hour = 3600e3
const kind = { group: '', version: 'v1', kind: 'Service' }
const asked = { uid: '7', kind, operation: 'CREATE', namespace: 'shop', object: serviceOf(vectors[0]!, 'a') }
const review = JSON.stringify({ request: asked })
/** The worst JSON for its length, in the middle of a review. */
const large = (length: number) => {
  const keys = Array.from({ length: length / 12 }, (_, i) => `"${String(i).padStart(7, '0')}":1`).join()
  return `{"request":${JSON.stringify(asked).slice(0, -1)},"x":{${keys}}}}`
}

const directory = mkdtempSync(join(tmpdir(), 'lightpath-webhook-'))
const file = (name: string) => join(directory, name)
const started: ChildProcess[] = []

before(() => {
  const made = makeServerCertificate(['127.0.0.1'], new Date(Date.now() - hour), new Date(Date.now() + hour))
  writeFileSync(file('tls.crt'), made.certificate)
  writeFileSync(file('tls.key'), made.key)
})

after(async () => {
  for (const process of started) {
    if (process.exitCode !== null) continue
    process.kill('SIGKILL')
    await once(process, 'exit')
  }
  rmSync(directory, { recursive: true })
})

/** A webhook as it is deployed, with a certificate from files; resolves when it is healthy. */
async function start(...flags: readonly string[]) {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  const where = ['--webhook-address', '127.0.0.1', '--webhook-port', String(port), '--certificate', directory]
  const child = spawn(program, ['webhook', ...where, ...flags], { stdio: ['ignore', 'ignore', 'pipe'] })
  started.push(child)
  let log = ''
  child.stderr!.on('data', chunk => (log += chunk))
  const peak = () => Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))![1]) / 1024
  for (let tries = 0; tries < 300; tries++) {
    const status = await send(port, 'GET', '').catch(() => 0)
    if (status === 200) return { port, peak, log: () => log }
    await delay(50)
  }
  throw new Error(`the webhook is not healthy: ${log}`)
}

/** The status of the answer; 0 where the connection ends without one. */
async function send(port: number, method: 'GET' | 'POST', body: string, options: RequestOptions = {}): Promise<number> {
  const path = method === 'GET' ? '/healthz' : '/admit'
  const sent = request({ host: '127.0.0.1', port, path, method, rejectUnauthorized: false, agent: false, ...options })
  return new Promise(resolve => {
    sent
      .on('error', () => resolve(0))
      .on('response', response => {
        response.resume()
        resolve(response.statusCode!)
      })
    sent.end(body)
  })
}

describe('the webhook', () => {
  test('answers large reviews, refuses larger ones, and takes little memory for many', {
    timeout: 120_000,
  }, async () => {
    const { port, peak } = await start()
    assert.equal(await send(port, 'POST', review), 200)
    assert.equal(await send(port, 'POST', large(mib)), 200)
    assert.ok([413, 0].includes(await send(port, 'POST', large(6 * mib))))
    const before = peak()
    const [six, three] = [large(6 * mib), large(2.9 * mib)]
    const answers = await Promise.all(Array.from({ length: 60 }, (_, i) => send(port, 'POST', i % 2 ? six : three)))
    assert.ok(answers.some(status => status !== 200))
    assert.ok(peak() - before < 150, `${Math.round(peak() - before)} MiB more`)
    assert.equal(await send(port, 'POST', review), 200)
  })

  test('goes on answering while bodies come slowly, and ends them', { timeout: 60_000 }, async () => {
    const { port } = await start()
    const slow = Array.from({ length: 100 }, () => {
      const headers = { 'content-length': 2 * mib }
      const options = { host: '127.0.0.1', port, method: 'POST', path: '/admit', rejectUnauthorized: false, headers }
      const sent = request({ ...options, agent: new Agent() })
      sent.on('error', () => {})
      sent.write('{"request":')
      return new Promise(resolve => sent.on('close', resolve).on('response', response => response.resume()))
    })
    await delay(500)
    const localAddress = '127.0.0.2'
    assert.equal(await send(port, 'POST', review, { localAddress }), 200)
    await Promise.all(slow)
  })

  test('answers only clients with a certificate of the authorities and a name that are asked for', async () => {
    const clients = makeClients('kube-apiserver', 'somebody')
    const flags = ['--client-authorities', file('clients.crt'), '--client-names', 'kube-apiserver,other']
    const { port, log } = await start(...flags)
    assert.equal(await send(port, 'POST', review), 401)
    assert.equal(await send(port, 'POST', review, clients.somebody), 401)
    assert.equal(await send(port, 'POST', review, clients['kube-apiserver']), 200)
    const strangers = makeClients('kube-apiserver', 'unused', 'strangers.crt')
    assert.equal(await send(port, 'POST', review, strangers['kube-apiserver']), 401)
    assert.match(log(), /it has no certificate that may ask/)
  })
})

/** Certificates for clients of these names, of one authority whose own is written to a file. */
function makeClients<A extends string, B extends string>(one: A, other: B, authority = 'clients.crt') {
  const openssl = (...args: readonly string[]) => execFileSync('openssl', args, { stdio: 'pipe' })
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  openssl('req', '-x509', ...key, '-keyout', file('ca.key'), '-out', file(authority), '-subj', '/CN=clients')
  const make = (name: string) => {
    openssl('req', ...key, '-keyout', file('client.key'), '-out', file('client.csr'), '-subj', `/CN=${name}`)
    const signer = ['-CA', file(authority), '-CAkey', file('ca.key'), '-CAcreateserial']
    openssl('x509', '-req', '-in', file('client.csr'), ...signer, '-out', file('client.crt'), '-days', '1')
    return { cert: readFileSync(file('client.crt')), key: readFileSync(file('client.key')) }
  }
  return { [one]: make(one), [other]: make(other) } as Readonly<Record<A | B, { cert: Buffer; key: Buffer }>>
}
