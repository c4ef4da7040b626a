/**
 * Lightpath on a real cluster of two nodes (hack/cluster) with no kube-proxy: real pods, real DNS, and on each node the
 * agent and Envoy as processes in the node's network namespace.
 */

import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { findEnvoy } from '../../src/envoy/find.ts'

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')
const cluster = `lightpath-test-${process.pid}`
const nodes = [1, 2]
const isRoot = process.getuid?.() === 0

const env = { ...process.env, LIGHTPATH_CLUSTER: cluster }
const hack = async (...args: readonly string[]) =>
  (await run(join(root, 'hack/cluster'), args, { env, maxBuffer: 2 ** 24 })).stdout
const kubectl = (...args: readonly string[]) => hack('kubectl', ...args)
const lightpath = async (...args: readonly string[]) => (await run(join(root, 'bin/lightpath'), args)).stdout

/** The last error that `attempt` had, when it has none for `seconds`. */
async function eventually<T>(seconds: number, attempt: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + seconds * 1000
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (Date.now() > deadline) throw error
      await delay(300)
    }
  }
}

describe('on a cluster of two nodes without kube-proxy', { skip: isRoot ? false : 'needs root' }, () => {
  const processes: ChildProcess[] = []
  let directory: string

  const socketOf = (node: number) => join(directory, `node${node}.sock`)

  function start(node: number, name: string, command: string, ...args: readonly string[]): void {
    const log = openSync(join(directory, `node${node}-${name}.log`), 'w')
    const inNode = [`--net=/run/netns/${cluster}-node${node}`, command, ...args]
    processes.push(spawn('nsenter', inNode, { stdio: ['ignore', log, log] }))
  }

  /** What curl in the pod `client` of a node prints for a URL. */
  async function curl(node: number, ...args: readonly string[]): Promise<string> {
    const selector = ['-l', 'app=client', '--field-selector', `spec.nodeName=node${node}`]
    const pod = await kubectl('-n', 'whoami', 'get', 'pods', ...selector, '-o', 'name')
    return await kubectl('-n', 'whoami', 'exec', pod.trim(), '--', 'curl', '-sSi', '--max-time', '5', ...args)
  }

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'lightpath-cluster-'))
    await hack('up', '--kube-proxy', 'none')
    const envoy = await findEnvoy()
    assert(envoy.ok)
    for (const node of nodes) {
      const bootstrap = join(directory, `node${node}.json`)
      await writeFile(bootstrap, await lightpath('bootstrap', '--node-name', `node${node}`))
      const kubeconfig = `/run/${cluster}/kubeconfig`
      const names = ['--node-name', `node${node}`, '--kubeconfig', kubeconfig, '--socket', socketOf(node)]
      start(node, 'agent', join(root, 'bin/lightpath'), 'node', ...names)
      const baseId = String(process.pid * 4 + node)
      start(node, 'envoy', envoy.path, '-c', bootstrap, '--base-id', baseId, '--concurrency', '1')
    }
    await kubectl('apply', '-f', join(root, 'hack/ci/test-deploy.yaml'))
    for (const workload of ['deployment/whoami', 'daemonset/client']) {
      await kubectl('-n', 'whoami', 'rollout', 'status', workload, '--timeout', '120s')
    }
  })

  after(async () => {
    for (const child of processes) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      child.kill()
      await once(child, 'exit')
    }
    await hack('down')
    await rm(directory, { recursive: true, force: true })
  })

  for (const node of nodes) {
    for (const family of ['-4', '-6']) {
      test(`a pod on node${node} reaches whoami by its name through Envoy (curl ${family})`, async () => {
        const answer = await eventually(30, async () => {
          const text = await curl(node, family, 'http://whoami.whoami.svc.cluster.local')
          assert.match(text, /X-Envoy-Attempt-Count: 1/i)
          return text
        })
        assert.match(answer, /^HTTP\/1.1 200/)
        assert.match(answer, /X-Envoy-Expected-Rq-Timeout-Ms: 5000/i)
        assert.match(answer, /X-Forwarded-Proto: http/i)
        assert.match(answer, /X-Request-Id: /i)
      })
    }
  }

  test('pods of both nodes answer', async () => {
    const hosts = new Set<string>()
    await eventually(30, async () => {
      const text = await curl(1, 'http://whoami.whoami.svc.cluster.local')
      hosts.add(/^Hostname: (.*)$/m.exec(text)![1]!.trim())
      assert.equal(hosts.size, 4)
    })
  })

  test('three rolling updates lose no request', async () => {
    const loop =
      'for i in $(seq 900); do curl -sS -o /dev/null --max-time 5 -w "%{http_code} %{errormsg}\\n" http://whoami; done'
    const pods = await kubectl('-n', 'whoami', 'get', 'pods', '-l', 'app=client', '-o', 'name')
    const pod = pods.trim().split('\n')[0]!
    const load = kubectl('-n', 'whoami', 'exec', pod, '--', 'sh', '-c', loop)
    for (let round = 0; round < 3; round++) {
      await kubectl('-n', 'whoami', 'rollout', 'restart', 'deployment/whoami')
      await kubectl('-n', 'whoami', 'rollout', 'status', 'deployment/whoami', '--timeout', '120s')
    }
    const answers = (await load).split('\n').filter(line => line !== '')
    assert.deepEqual([...new Set(answers)], ['200 '])
    assert.equal(answers.length, 900)
  })

  test('explain on a node names the acknowledged layers of a Service of the cluster', async () => {
    const text = await lightpath('explain', 'whoami/whoami', '--socket', socketOf(1))
    assert.match(text, /layer: envoy/i)
  })
})
