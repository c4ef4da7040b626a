/** What a newcomer does: the commands of docs/quickstart.md as they stand there, all of them, in their order, on a bare machine. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { promisify } from 'node:util'
import type { ClusterReport } from '../../src/check/cluster.ts'
import type { Report } from '../../src/top/report.ts'
import { blocksOf } from './doc-commands.ts'
import { eventually, isRoot } from './nodes.ts'

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')
const cluster = `lightpath-quickstart-${process.pid}`

describe('the quick start', { skip: isRoot ? false : 'needs root' }, () => {
  const shell = async (commands: string) => {
    const env = { ...process.env, LIGHTPATH_CLUSTER: cluster }
    const options = { cwd: root, env, maxBuffer: 2 ** 26, timeout: 1_500_000 }
    return await run('bash', ['-c', `set -e; . hack/env; ${commands}`], options).then(
      ({ stdout }) => ({ code: 0, stdout }),
      ({ code, stdout, stderr }) => ({ code: Number(code), stdout: `${stdout}\n${stderr}` }),
    )
  }
  after(() => shell('hack/cluster down'))

  const done: string[] = []

  /** Runs the next block of the document, which begins so. */
  async function follow(begins: string): Promise<string> {
    const block = (await blocksOf('quickstart.md'))[done.length]
    assert.ok(
      block !== undefined && block.startsWith(begins),
      `the block after ${done.at(-1) ?? 'the beginning'} is ${block}`,
    )
    done.push(block)
    const { code, stdout } = await shell(block)
    assert.equal(code, 0, `${block}\n${stdout}`)
    return stdout
  }

  const port = async (): Promise<Report['ports'][number]> => {
    const { stdout } = await shell('lightpath top shop/web --once --interval 2 --output json')
    return (JSON.parse(stdout) as Report).ports[0]!
  }

  test('a cluster comes up, and the application on it', async () => {
    await follow('make k8s-up')
  })

  test('Lightpath is installed, and the check finds all well on every node', async () => {
    const text = await follow('make deploy')
    assert.match(text, /^Lightpath \S+ on 2 nodes, beside kube-proxy$/m)
    for (const node of ['node1', 'node2']) {
      assert.match(text, new RegExp(`^${node} +\\d+\\.\\d+\\.\\d+ +\\d+ ms, \\d+ ms +\\d+ ms, \\d+ ms +well`, 'm'))
    }
    assert.match(text, /lightpath adopt --yes NAMESPACE\/NAME hands one over/)
    await eventually(30, async () => assert.doesNotMatch((await shell('kubectl get namespaces')).stdout, /check-/))
  })

  test('what each buyer asks goes to one pod, however many there are', async () => {
    const text = await follow('lightpath top shop/web')
    assert.match(text, /^shop\/web:http +kube-proxy +- +- +- +- +- +- +2 +2 +(100%|50% 50%)$/m)
    const { pinnedConnections, endpoints } = await port()
    assert.equal(pinnedConnections, 2)
    assert.ok(endpoints.length <= 2, String(endpoints.length))
  })

  test('handed over, every pod has its share of the same two connections’ requests', async () => {
    await follow('lightpath adopt --yes shop/web')
    await eventually(60, async () => {
      const { layer, pinnedConnections, connections, endpoints } = await port()
      assert.deepEqual([layer, connections, pinnedConnections, endpoints.length], ['envoy', 2, 0, 4])
      const most = Math.max(...endpoints.map(({ requestsPerSecond }) => requestsPerSecond))
      const least = Math.min(...endpoints.map(({ requestsPerSecond }) => requestsPerSecond))
      assert.ok(least > most / 2, `${least} to ${most} requests/s`)
    })
    const text = await follow('lightpath top shop/web')
    assert.match(text, /^shop\/web:http +Envoy +\d+ +[\d.]+ms +[\d.]+ms +0 +0 +0 +2 +0( +\d+%){4}$/m)
    assert.equal(text.match(/^ {2}[\d.]+:8080 +\d+% +#+ +[\d.]+ requests\/s$/gm)?.length, 4)
  })

  test('the check says of a node that does not let pods reach Envoy where it goes wrong, and what to do', async () => {
    const nft = (command: string) => shell(`hack/cluster node 2 nft '${command}'`)
    await nft('add table ip foe; add chain ip foe in { type filter hook input priority 0; }')
    await nft('add rule ip foe in meta mark & 0x8000 == 0x8000 drop')
    await eventually(60, async () => {
      const agent =
        'kubectl -n lightpath-system get pods -l app.kubernetes.io/component=node --field-selector spec.nodeName=node2'
      const status = `kubectl -n lightpath-system exec -c node $(${agent} -o name) -- lightpath status`
      assert.match((await shell(status)).stdout, /Envoy, IPv4: blocked/)
    })
    const { code, stdout } = await shell('lightpath check --output json 2>/dev/null')
    assert.equal(code, 1, stdout)
    const { nodes } = JSON.parse(stdout) as ClusterReport
    const wrong = nodes.flatMap(({ node, checks }) =>
      checks.filter(({ outcome }) => outcome === 'fails').map(({ name, remedy }) => [node, name, remedy !== undefined]),
    )
    assert.deepEqual(wrong, [
      ['node2', 'path of pods to Envoy, IPv4', true],
      ['node2', 'request through Envoy', true],
    ])
    await nft('delete table ip foe')
  })

  test('one command takes all of it back, and kube-proxy serves', async () => {
    assert.match(await follow('lightpath uninstall --yes'), /Nothing of Lightpath is left/)
    const tables = await shell('for node in 1 2; do hack/cluster node $node nft list tables; done')
    assert.doesNotMatch(tables.stdout, /lightpath/)
    const { stdout } = await shell('kubectl -n shop exec deployment/buyer -- curl -sS --max-time 5 http://web.shop/')
    assert.match(stdout, /^Hostname: web-/m)
    const { code, stdout: said } = await shell('lightpath check')
    assert.equal(code, 1)
    assert.match(said, /Lightpath is not installed: there is no DaemonSet lightpath-node/)
    assert.equal(done.length, (await blocksOf('quickstart.md')).length)
  })
})
