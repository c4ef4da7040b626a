import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Answer } from '../observe/http.ts'
import { problem } from '../services/problem.ts'
import { aService, put } from '../services/testing.ts'
import { controlPlaneSource } from '../sources/controlplane/controlplane.ts'
import { hostAddresses } from '../sources/controlplane/replicas/addresses.ts'
import { RecordingListener, silentLog, until } from '../sources/testing.ts'
import { controlPlaneRoutes } from './routes.ts'
import { startControlPlane } from './server.ts'

const away = [problem('LP105', 'Kubernetes API', 'not reachable', 'wait')]

test('metrics and probes say what a control plane serves, and how old it is', async () => {
  const controlPlane = await startControlPlane({ address: { address: '127.0.0.1', port: 0 }, log: silentLog })
  const ask = async (path: string): Promise<Answer> =>
    controlPlaneRoutes(controlPlane)[path]!(new URLSearchParams(), undefined as never)
  const sample = async (name: string) => {
    const page = String((await ask('/metrics')).body)
    return new RegExp(`^${name.replace(/[{}]/g, '\\$&')} (.*)$`, 'm').exec(page)?.[1]
  }
  const metric = (name: string) => sample(`lightpath_controlplane_${name}`)
  const hosts = [{ host: '127.0.0.1', port: controlPlane.port }]
  const source = controlPlaneSource({
    findReplicas: hostAddresses(hosts, false),
    nodeName: 'node1',
    direct: () => assert.fail('it goes to the API server'),
    patienceMs: 60_000,
    log: silentLog,
  })
  const listener = new RecordingListener()
  try {
    assert.equal((await ask('/readyz')).status, 503)
    assert.equal(await metric('facts_age_seconds'), undefined)
    controlPlane.knowledge.changes([put(aService())])
    controlPlane.knowledge.synced()
    assert.deepEqual([(await ask('/readyz')).body, await metric('facts_age_seconds')], ['ok\n', '0'])
    await source.start(listener)
    await until(
      () => listener.timesSynced === 1,
      () => listener.history.join(),
    )
    for (const name of ['streams', 'nodes', 'resources{type="Service"}']) assert.equal(await metric(name), '1', name)
    assert.equal(await metric('resources{type="Pod"}'), '0')
    assert.ok(Number(await metric('sent_bytes_total')) > 100)
    assert.ok(Number(await metric('responses_total')) >= 8)
    assert.ok(Number(await metric('synced_timestamp_seconds')) > 1.7e9)
    controlPlane.knowledge.problems('kubernetes', away)
    await until(
      () => (controlPlane.readings().freshness.ageMs ?? 0) > 500,
      () => 'it stays fresh',
    )
    assert.ok(Number(await metric('facts_age_seconds')) >= 0.5)
    assert.match(String((await ask('/readyz')).body), /^ok; the API server said nothing for \d s/)
    await source.stop()
    await until(
      () => controlPlane.readings().streams === 0,
      () => 'the stream stays',
    )
    assert.equal(await metric('nodes'), '0')
  } finally {
    await source.stop()
    await controlPlane.stop()
  }
})
