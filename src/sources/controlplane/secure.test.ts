import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { makeServerCertificate } from '../../certificates/certificate.ts'
import { factsAccess } from '../../controlplane/admission.ts'
import { type ControlPlane, startControlPlane } from '../../controlplane/server.ts'
import { Bearers } from '../../observe/access/bearers.ts'
import { aService, put } from '../../services/testing.ts'
import { RecordingListener, silentLog, until } from '../testing.ts'
import { controlPlaneSource } from './controlplane.ts'
import { hostAddresses } from './replicas/addresses.ts'

const directory = mkdtempSync(join(tmpdir(), 'lightpath-controlplane-'))
const file = (name: string) => join(directory, name)
const hour = 3600e3
const certificate = (...names: readonly string[]) =>
  makeServerCertificate(names, new Date(Date.now() - hour), new Date(Date.now() + hour))

/** Tokens that the API server knows, with the Node of each; `audiences` are those that it was asked for. */
const nodes: Readonly<Record<string, string>> = {
  'token-1': 'node1',
  'token-2': 'node2',
  'no-right': 'node1',
  'for-api': 'node1',
}
const audiences: unknown[] = []
const create = async (_path: string, object: unknown) => {
  const { spec } = object as { spec: { token?: string; audiences?: unknown; user?: string } }
  if (spec.token === undefined) return { status: { allowed: spec.user !== 'no-right' } }
  audiences.push(spec.audiences)
  const node = nodes[spec.token]
  const extra = { 'authentication.kubernetes.io/node-name': [node] }
  const named = spec.token === 'for-api' ? {} : { audiences: spec.audiences }
  return { status: node ? { authenticated: true, user: { username: spec.token, extra }, ...named } : {} }
}

const nothingKnown = { objects: [], isCurrent: false, hasFailed: false }
let controlPlane: ControlPlane

before(async () => {
  const served = certificate('127.0.0.1', 'localhost')
  writeFileSync(file('authority'), served.authority)
  writeFileSync(file('other-authority'), certificate('127.0.0.1').authority)
  const address = { address: '127.0.0.1', port: 0 }
  const bearers = new Bearers(create, factsAccess)
  const times = { refusedMs: 10 }
  controlPlane = await startControlPlane({
    address,
    certificates: use => async () => use(served),
    bearers,
    log: silentLog,
    times,
  })
  controlPlane.knowledge.changes([put(aService())])
  controlPlane.knowledge.synced()
})

after(async () => {
  await controlPlane.stop()
  rmSync(directory, { recursive: true })
})

interface Agent {
  readonly host?: string
  readonly authority?: string
  readonly token?: string
  readonly patienceMs?: number
}

/** How often an agent went to the API server. */
let timesDirect = 0

/** Runs an agent on node1 until it has everything or says why it cannot; '' in the former case. */
async function asked(agent: Agent): Promise<string> {
  const { host = '127.0.0.1', authority = 'authority', token = 'token-1', patienceMs = 60_000 } = agent
  writeFileSync(file('token'), `${token}\n`)
  const source = controlPlaneSource({
    findReplicas: hostAddresses([{ host, port: controlPlane.port }], true),
    security: { authority: file(authority), token: file('token') },
    nodeName: 'node1',
    direct: () => ({
      start: async ({ synced }) => {
        timesDirect++
        synced()
      },
      stop: async () => undefined,
    }),
    patienceMs,
    log: silentLog,
  })
  const listener = new RecordingListener()
  try {
    await source.start(listener)
    const isDone = () => listener.timesSynced === 1 || (agent.patienceMs === undefined && listener.told().length > 0)
    await until(isDone, () => listener.history.join())
    return listener.timesSynced === 1 ? '' : listener.told()[0]!
  } finally {
    await source.stop()
  }
}

test('an agent with a token for control planes is served by TLS, by address and by name', async () => {
  assert.equal(await asked({}), '')
  assert.equal(await asked({ host: 'localhost' }), '')
  assert.deepEqual(new Set(audiences.flat()), new Set(['lightpath-controlplane']))
})

test('whoever has no such token, no right to the facts, or the token of another node is not served', async () => {
  assert.match(await asked({ token: 'unheard-of' }), /LP106.*the API server does not know this token/)
  assert.match(await asked({ token: 'for-api' }), /LP106.*the API server does not know this token/)
  assert.match(await asked({ token: 'no-right' }), /LP106.*no-right may not get the nonResourceURL \/lightpath\/facts/)
  assert.match(await asked({ token: 'token-2' }), /LP106.*node "node1" shows a token of node node2/)
})

test('a control plane that accepts an agent and tells it nothing keeps it from no API server', async () => {
  assert.equal(timesDirect, 0)
  assert.equal(await asked({ token: 'token-2', patienceMs: 300 }), '')
  assert.equal(timesDirect, 1)
})

test('an agent shows its token to no control plane of another authority', async () => {
  assert.match(await asked({ authority: 'other-authority' }), /LP106/)
  const told = audiences.length
  assert.match(await asked({ authority: 'other-authority', token: 'never-shown' }), /LP106/)
  assert.equal(audiences.length, told)
})

test('without TLS no control plane beyond this host is asked', async () => {
  const find = (host: string) => hostAddresses([{ host, port: 1 }], false)(nothingKnown)
  await assert.rejects(find('192.0.2.1'), /192.0.2.1 is .*, beyond this host/)
  assert.deepEqual(await find('::1'), [{ address: '[::1]:1', host: '::1' }])
})
