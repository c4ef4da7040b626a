/**
 * What operators do: the commands of docs/operations.md and docs/migration.md as they stand there, one after the other on one
 * cluster, with a bridged pod network. What cannot be run here says why.
 */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { noAdmissionPolicies, programs } from './apiserver.ts'
import { blocksOf } from './doc-commands.ts'
import { eventually, isRoot, Nodes, nodes } from './nodes.ts'

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')
const skip = isRoot ? false : 'needs root'

/** By how a block begins. */
const notRun: Readonly<Record<string, string>> = {
  'make k8s-up && make deploy': 'the cluster of this test is made so, and deploy.test.ts asks the same Service',
  'kubectl apply -k deploy/default':
    'its images are those of a registry; hack/deploy applies it with images that nodes have',
  'helm install lightpath deploy/chart': 'images of a registry again; chart.test.ts installs it',
  'lightpath uninstall --yes': 'uninstall-command.test.ts',
  'lightpath bootstrap --node-name': 'no pods: hack/cluster lightpath starts the same, for alerts and Events',
  'lightpath check': 'quickstart.test.ts',
  'lightpath top': 'the first goes on for ever; test/node/commands/top.test.ts',
  'kubectl create namespace lightpath-system': 'images of a registry again; webhook/deploy.test.ts',
  'apiVersion: apiserver.config.k8s.io/v1': 'a file of the API server; webhook/deploy.test.ts',
  '# kustomization.yaml': 'no command; webhook/opa.test.ts, deploy-manifests.test.ts',
  "make k8s-up CLUSTER='--nodes 3": 'other clusters than the one that is up; this test uses each of these commands',
  'SERVICE PORT ': 'what verify prints; verify.test.ts',
  'kubectl get pod NAME -o jsonpath': 'a cluster with a control plane; controlplane/deadnode.ts asks for the same',
  'kubectl label namespace shop lightpath.cloud/reachability-gate': 'the same cluster; controlplane/deadnode.ts',
}

describe('the commands of the documentation', { skip }, () => {
  let cluster: Nodes
  let directory: string
  let image: string

  before(async () => {
    cluster = await Nodes.deployed('bridged')
    directory = mkdtempSync(join(tmpdir(), 'lightpath-operations-'))
    for (const name of ['deploy', 'hack']) symlinkSync(join(root, name), join(directory, name))
    const kubeconfig = join(cluster.directory, 'kubeconfig')
    for (const name of ['bin', 'archive']) mkdirSync(join(directory, name))
    const program = (name: string, command: string) => {
      writeFileSync(join(directory, 'bin', name), `#!/bin/sh\nexec ${command} "$@"\n`)
      chmodSync(join(directory, 'bin', name), 0o755)
    }
    const inControl = `nsenter ${cluster.controlNetwork}`
    program('kubectl', `${inControl} ${join(programs, 'kubectl')} --kubeconfig ${kubeconfig}`)
    program('curl', `${inControl} /usr/bin/curl`)
    program(
      'lightpath',
      `${join(root, 'hack/cluster')} node 1 env KUBECONFIG=${kubeconfig} ${join(root, 'bin/lightpath')}`,
    )
    image = await ours('get', 'daemonset', 'lightpath-node', '-o', 'jsonpath={.spec.template.spec.containers[0].image}')
  })

  after(async () => {
    await cluster?.down()
    if (directory !== undefined) rmSync(directory, { recursive: true })
  })

  const ours = (...args: readonly string[]) => cluster.kubectl('-n', 'lightpath-system', ...args)

  async function shell(commands: string): Promise<{ code: number; stdout: string; stderr: string }> {
    const env = { ...cluster.env, PATH: `${directory}/bin:${process.env.PATH}` }
    return run('bash', ['-c', commands], { cwd: directory, env, maxBuffer: 2 ** 26, timeout: 300_000 }).then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      ({ code, stdout, stderr }) => ({ code, stdout, stderr }),
    )
  }

  const done = new Set<string>()

  /** Runs the block that begins so, with words in place of others. Its last command has to succeed. */
  async function follow(
    document: string,
    begins: string,
    words: Readonly<Record<string, string>> = {},
  ): Promise<string> {
    const block = (await blocksOf(document)).find(text => text.startsWith(begins))
    assert.ok(block, `${document} has no commands that begin with ${begins}`)
    done.add(block)
    const commands = Object.entries(words).reduce((text, [word, other]) => text.replaceAll(word, other), block)
    const { code, stdout, stderr } = await shell(commands)
    assert.equal(code, 0, `${commands}\n${stdout}\n${stderr}`)
    return stdout
  }

  const namespaces = async () => (await shell('kubectl get namespaces --no-headers')).stdout

  test('preflight finds all nodes fit, from anywhere and on a node, and leaves nothing', async () => {
    const words = {
      'REGISTRY/lightpath:TAG': image,
      '/etc/kubernetes/admin.conf': join(cluster.directory, 'kubeconfig'),
    }
    const text = await follow('operations.md', 'lightpath preflight --all-nodes', words)
    for (const node of nodes) assert.match(text, new RegExp(`^node${node} +fit`, 'm'))
    assert.match(text, /2 of 2 nodes are fit for Lightpath/)
    assert.match(text, /^Services: \d+ ports for Envoy/m)
    await eventually(30, async () => assert.doesNotMatch(await namespaces(), /preflight/))
  })

  test('preflight says of an image that nodes cannot have what the node says of it', async () => {
    const { code, stdout } = await shell('lightpath preflight --all-nodes --image localhost/nobody:1 --timeout 30')
    assert.equal(code, 1)
    assert.match(stdout, /^node1 +not looked at: image localhost\/nobody:1: (ErrImage|ImagePull)/m)
    assert.match(stdout, /0 of 2 nodes/)
    await eventually(30, async () => assert.doesNotMatch(await namespaces(), /preflight/))
  })

  test('preflight looks at one node as a pod of kubectl debug', async () => {
    await follow('operations.md', 'kubectl debug node/NODE', { NODE: 'node1', 'REGISTRY/lightpath:TAG': image })
    await eventually(60, async () => {
      const log = await shell('kubectl logs $(kubectl get pods -o name | grep node-debugger)')
      assert.match(log.stdout, /all is well|nothing that would break traffic/)
    })
  })

  test('an archive has lightpath for a machine that has nothing of it', async () => {
    const { stdout } = await run(join(root, 'images/archive'))
    await run('tar', ['-xzf', stdout.trim(), '-C', join(directory, 'archive')])
    const program = join(directory, 'archive/lightpath/bin/lightpath')
    const version = await run(program, ['--version'], { env: { PATH: '/usr/bin:/bin' } })
    assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/)
  })

  test('verify finds no difference to the kube-proxy of a cluster that has just begun', async () => {
    const words = { NODE: 'node1', FILE: join(cluster.directory, 'kubeconfig'), RANGES: '10.244.0.0/16,fd00:244::/32' }
    assert.match(await follow('migration.md', 'lightpath verify', words), /, 0 differences/)
  })

  test("Envoy's configuration is shown by kubectl port-forward to a proxy's pod", async () => {
    const dump = await follow(
      'operations.md',
      'POD=$(kubectl -n lightpath-system get pods -l app.kubernetes.io/component=proxy',
    )
    assert.match(dump, /envoy\.admin\.v3\.BootstrapConfigDump/)
  })

  test('a dump is packed in a pod and comes here', async () => {
    await follow('operations.md', 'kubectl -n lightpath-system exec POD', { POD: 'daemonset/lightpath-node' })
    assert.match(
      gunzipSync(readFileSync(join(directory, 'dump.tar.gz'))).toString('latin1'),
      /status\.json|config\.json/,
    )
  })

  test('metrics with Services are for who may have them', async () => {
    await reachesEnvoy()
    // A page may be a second old, and more on a busy machine.
    await sleep(5000)
    const words = { NAMESPACE: 'whoami', NAME: 'default', NODE: '172.30.0.11' }
    const metrics = await follow('operations.md', 'kubectl create clusterrole lightpath-metrics', words)
    assert.match(metrics, /^lightpath_requests_total\{.*service="whoami"/m)
  })

  test('the authority for clients of the webhook becomes a ConfigMap', async () => {
    await follow('operations.md', 'kubectl -n kube-system get configmap extension-apiserver-authentication')
    assert.match(await ours('get', 'configmaps', '-o', 'name'), /webhook-clients/)
  })

  test('Services are handed over and back by adopt', async () => {
    const text = await follow('operations.md', 'lightpath adopt ')
    assert.match(text, /Services handed back to kube-proxy: 1/)
    await shell('lightpath adopt --yes')
    await reachesEnvoy()
  })

  test('a port is taken out of Envoy by its annotation', async () => {
    const words = { NAME: '-n whoami whoami', '<port>': 'http' }
    await follow('migration.md', 'kubectl annotate service NAME', words)
    await eventually(30, async () => assert.doesNotMatch(await cluster.curl(1, 'http://whoami'), /X-Envoy/i))
    await shell('kubectl annotate service -n whoami whoami config.lightpath.cloud/http-overlay-')
    await reachesEnvoy()
  })

  test('the admission policy takes the place of the webhook', { skip: noAdmissionPolicies }, async () => {
    await follow('operations.md', 'kubectl apply -f deploy/components/admission-policy/policy.yaml')
    await follow('operations.md', 'kubectl delete --ignore-not-found -k deploy/webhook')
    assert.doesNotMatch(await ours('get', 'services,deployments,serviceaccounts', '-o', 'name'), /webhook/)
    await eventually(30, async () => {
      await shell('kubectl -n whoami delete --ignore-not-found service later')
      await shell('kubectl -n whoami create service clusterip later --tcp 80')
      assert.match(
        await cluster.kubectl('get', 'service', 'later', '-o', 'yaml'),
        /service-proxy-name: lightpath\.cloud/,
      )
    })
  })

  const reachesEnvoy = () =>
    eventually(60, async () => {
      for (const node of nodes) assert.match(await cluster.curl(node, 'http://whoami'), /X-Envoy/i)
    })

  test('with SERVICES=all pods on bridges reach Envoy, and nothing says otherwise', async () => {
    await cluster.hack('kube-proxy', 'none')
    await cluster.deploy('up', 'all')
    await reachesEnvoy()
    const agents = (await ours('get', 'pods', '-l', 'app.kubernetes.io/component=node', '-o', 'name'))
      .trim()
      .split('\n')
    for (const agent of agents) {
      await eventually(60, async () => {
        const status = await ours('exec', '-c', 'node', agent, '--', 'lightpath', 'status')
        for (const family of ['IPv4', 'IPv6'])
          assert.match(status, new RegExp(`Envoy, ${family}: open, tested from pod`))
        assert.match(status, /problems: none/)
      })
    }
    assert.doesNotMatch(await cluster.kubectl('get', 'events', '-A'), /LP402/)
    const { code, stdout } = await shell('lightpath check')
    assert.equal(code, 0, stdout)
    assert.match(stdout, /^Lightpath \S+ on 2 nodes, in place of kube-proxy$/m)
  })

  test('uninstalling by hand leaves nothing, and kube-proxy serves', async () => {
    await cluster.hack('kube-proxy', 'nftables')
    await follow('operations.md', 'IMAGE=$(kubectl')
    for (const node of nodes) {
      assert.match(await cluster.curl(node, 'http://whoami'), /^HTTP\/1.1 200/)
      assert.doesNotMatch(await cluster.hack('node', String(node), 'nft', 'list', 'tables'), /lightpath/)
    }
    assert.doesNotMatch(await namespaces(), /lightpath/)
  })

  test('no command of the documents is left out without a reason', async () => {
    const all = [...(await blocksOf('operations.md')), ...(await blocksOf('migration.md'))]
    const isKnown = (block: string) => done.has(block) || Object.keys(notRun).some(begins => block.startsWith(begins))
    assert.deepEqual(
      all.filter(block => !isKnown(block)),
      [],
    )
    for (const begins of Object.keys(notRun))
      assert.ok(
        all.some(block => block.startsWith(begins)),
        begins,
      )
  })
})
