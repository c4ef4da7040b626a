import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { bootstrap, bootstrapJson } from './bootstrap.ts'

const golden = (name: string) => new URL(`golden/${name}.snapshot`, import.meta.url).pathname

test('the bootstrap of a node is golden/bootstrap.snapshot', t => {
  t.assert.fileSnapshot(bootstrapJson(bootstrap({ node: 'node1' })), golden('bootstrap'))
})

for (const [file, clientAddress] of [
  ['envoy.json', 'preserve'],
  ['envoy-before-6.3.json', 'forwarded-for'],
] as const) {
  test(`deploy/proxy/${file} is the bootstrap with --client-address=${clientAddress}`, async () => {
    const deployed = await readFile(new URL(`../../../deploy/proxy/${file}`, import.meta.url), 'utf8')
    assert.deepEqual(JSON.parse(deployed), bootstrapJson(bootstrap({ node: 'node', clientAddress })))
  })
}

test('with mark 0 Envoy’s connections are not marked, so that it needs no capability', () => {
  assert.equal(bootstrap({ node: 'node1', mark: 0 }).clusterManager?.upstreamBindConfig, undefined)
  const marked = bootstrapJson(bootstrap({ node: 'node1', mark: 0x10 })) as {
    clusterManager: { upstreamBindConfig: { socketOptions: { intValue: string }[] } }
  }
  assert.equal(marked.clusterManager.upstreamBindConfig.socketOptions[0]?.intValue, '16')
})
