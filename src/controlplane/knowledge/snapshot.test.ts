import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { everything } from '../../facts/types.ts'
import { problem } from '../../services/problem.ts'
import { aNode, anEndpoint, aPod, aService, aSlice, put } from '../../services/testing.ts'
import { silentLog, until } from '../../sources/testing.ts'
import { Freshness } from './freshness.ts'
import { Knowledge } from './knowledge.ts'
import { decodeSnapshot } from './snapshot.ts'
import { keepSnapshot } from './snapshotfile.ts'

const directory = mkdtempSync(join(tmpdir(), 'lightpath-snapshot-'))
let files = 0
const newFile = () => join(directory, `facts-${++files}`)
const services = { kind: 'Service', scope: everything } as const
const service = (name: string, version: string) => ({ ...put(aService({ name })), version })
const away = [problem('LP105', 'Kubernetes API', 'not reachable', 'wait')]

after(() => rmSync(directory, { recursive: true }))

function learner(now: () => number = Date.now) {
  const told: string[] = []
  const knowledge = new Knowledge((_type, name) => told.push(name), silentLog, new Freshness(now))
  const names = () => [...knowledge.store.all('Service').keys()].sort()
  return { knowledge, names, told }
}

/** A control plane that knows two Services and one object of other kinds, by the API server's word at 1,000,000. */
function informed() {
  const { knowledge } = learner(() => 1_000_000)
  const others = [aNode('a'), aPod('web', '10.0.0.1'), aSlice([anEndpoint('10.0.0.1')])].map(put)
  knowledge.changes([service('cart', '5'), service('gone', '6'), ...others])
  knowledge.progress(services, '7')
  knowledge.synced()
  return knowledge
}

test('a snapshot has everything that it was made of, with versions and age', () => {
  const knowledge = informed()
  const snapshot = decodeSnapshot(knowledge.snapshot()!)
  const restored = learner(() => 1_060_000).knowledge
  restored.restore(snapshot)
  for (const { type } of snapshot.facts) {
    assert.deepEqual(restored.store.all(type), knowledge.store.all(type))
    assert.equal(restored.store.version(type), knowledge.store.version(type))
  }
  assert.deepEqual([restored.isKnown, restored.freshness.ageMs], [true, 60_000])
})

test('what is gone since goes when the API server has told all of its kind, and not before', () => {
  const { knowledge, names, told } = learner()
  knowledge.restore(decodeSnapshot(informed().snapshot()!))
  knowledge.changes([service('cart', '9'), service('new', '10')])
  assert.deepEqual(names(), ['whoami/cart', 'whoami/gone', 'whoami/new'])
  told.length = 0
  knowledge.progress(services, '11')
  assert.deepEqual([names(), told], [['whoami/cart', 'whoami/new'], ['whoami/gone']])
  assert.equal(knowledge.store.all('Pod').size, 1)
  knowledge.synced()
  assert.equal(knowledge.store.all('Pod').size, 0)
})

test('a snapshot adds nothing to kinds that the API server has told whole', () => {
  const { knowledge, names } = learner()
  knowledge.changes([service('cart', '9')])
  knowledge.progress(services, '11')
  knowledge.restore(decodeSnapshot(informed().snapshot()!))
  assert.deepEqual([names(), knowledge.store.version('Service')], [['whoami/cart'], '11'])
  assert.equal(knowledge.store.all('Pod').size, 1)
})

test('a snapshot is made where something has changed, and of nothing but what the API server has', () => {
  const knowledge = informed()
  assert.ok(knowledge.snapshot())
  assert.equal(knowledge.snapshot(), undefined)
  knowledge.progress(services, '8')
  assert.ok(knowledge.snapshot())
  const { knowledge: restored } = learner()
  restored.restore(decodeSnapshot(informed().snapshot()!))
  assert.equal(restored.snapshot(), undefined)
})

test('a snapshot that is not whole, or of another format, is not read', () => {
  const bytes = informed().snapshot()!
  assert.throws(() => decodeSnapshot(bytes.subarray(0, bytes.length - 1)), /it is not whole/)
  const other = Buffer.from(bytes.toString('latin1').replace('"format":1', '"format":2'), 'latin1')
  assert.throws(() => decodeSnapshot(other), /it has format 2, and this version reads 1/)
  for (const wrong of ['', '\n', '{}\n']) assert.throws(() => decodeSnapshot(Buffer.from(wrong)))
})

test('a control plane that starts while the API server is away has what its predecessor wrote', async () => {
  const file = newFile()
  const first = keepSnapshot({ file, knowledge: informed(), log: silentLog, everyMs: 10, patienceMs: 60_000 })
  await until(
    () => existsSync(file),
    () => 'nothing is written',
  )
  await first.stop()
  writeFileSync(`${file}.new`, readFileSync(file).subarray(0, 100))
  const { knowledge, names } = learner()
  knowledge.problems('kubernetes', away)
  const second = keepSnapshot({ file, knowledge, log: silentLog, patienceMs: 10 })
  await until(
    () => knowledge.isKnown,
    () => 'nothing is restored',
  )
  await second.stop()
  assert.deepEqual(names(), ['whoami/cart', 'whoami/gone'])
})

test('a control plane that has no snapshot waits for the API server', async () => {
  const { knowledge } = learner()
  const warnings: string[] = []
  const log = { ...silentLog, warn: (_: object, text: string) => void warnings.push(text) }
  const kept = keepSnapshot({ file: newFile(), knowledge, log, patienceMs: 10 })
  await until(
    () => warnings.length > 0,
    () => 'it says nothing',
  )
  await kept.stop()
  assert.equal(knowledge.isKnown, false)
})
