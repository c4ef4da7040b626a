import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { bootstrap, bootstrapJson } from './bootstrap.ts'

const golden = (name: string) => new URL(`golden/${name}.snapshot`, import.meta.url).pathname

test('the bootstrap of a node is golden/bootstrap.snapshot', t => {
  t.assert.fileSnapshot(bootstrapJson(bootstrap({ node: 'node1' })), golden('bootstrap'))
})

test('deploy/proxy/envoy.json is what `lightpath bootstrap --node-name node` prints', async () => {
  const deployed = await readFile(new URL('../../deploy/proxy/envoy.json', import.meta.url), 'utf8')
  assert.deepEqual(JSON.parse(deployed), bootstrapJson(bootstrap({ node: 'node' })))
})

test('with mark 0 Envoy’s connections are not marked, so that it needs no capability', () => {
  assert.equal(bootstrap({ node: 'node1', mark: 0 }).clusterManager?.upstreamBindConfig, undefined)
  const marked = bootstrapJson(bootstrap({ node: 'node1', mark: 0x10 })) as {
    clusterManager: { upstreamBindConfig: { socketOptions: { intValue: string }[] } }
  }
  assert.equal(marked.clusterManager.upstreamBindConfig.socketOptions[0]?.intValue, '16')
})
