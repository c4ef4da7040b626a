import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { KubeConfig } from '@kubernetes/client-node'
import { atAddress, serverOf } from './kube-config.ts'

test("a pod's service account is shown to the address in its files, IPv6, too, and a kubeconfig to its own", () => {
  const directory = mkdtempSync(join(tmpdir(), 'lightpath-address-'))
  const serverBy = (read: (config: KubeConfig) => void) => {
    const config = new KubeConfig()
    read(config)
    return serverOf(atAddress(config, directory))
  }
  const kubeconfig = (config: KubeConfig) =>
    config.loadFromClusterAndUser(
      { name: 'mine', server: 'https://192.0.2.9:6443', skipTLSVerify: false },
      { name: 'me' },
    )
  const before = { ...process.env }
  Object.assign(process.env, { KUBERNETES_SERVICE_HOST: '10.96.0.1', KUBERNETES_SERVICE_PORT: '443' })
  const inPod = (config: KubeConfig) => config.loadFromCluster()
  try {
    assert.equal(serverBy(inPod), 'https://10.96.0.1:443')
    for (const [host, server] of [
      ['192.0.2.1', 'https://192.0.2.1:6443'],
      ['2001:db8::1', 'https://[2001:db8::1]:6443'],
    ] as const) {
      writeFileSync(join(directory, 'host'), host)
      writeFileSync(join(directory, 'port'), '6443\n')
      assert.equal(serverBy(inPod), server)
      assert.equal(serverBy(kubeconfig), 'https://192.0.2.9:6443')
    }
  } finally {
    process.env = before
    rmSync(directory, { recursive: true })
  }
})
