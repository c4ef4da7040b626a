/** Lightpath as its users get it: images and manifests, on a cluster with kube-proxy and then in its place. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { eventually, isRoot, type Load, Nodes, nodes } from '../nodes.ts'

const skip = isRoot ? false : 'needs root'
const proxyName = 'service.kubernetes.io/service-proxy-name'
const lbPolicy = 'config.lightpath.cloud/http-lb-policy'
const capNetAdmin = '0000000000001000'

describe('make deploy', { skip }, () => {
  let cluster: Nodes
  before(async () => {
    cluster = await Nodes.deployed()
  })
  after(() => cluster?.down())

  const ours = (...args: readonly string[]) => cluster.kubectl('-n', 'lightpath-system', ...args)
  /** On connections that are kept, and each request on a new one. */
  const someLoad = async (): Promise<readonly Load[]> => {
    const url = await cluster.url('whoami')
    return [
      await cluster.load(1, url, '--rate', '200', '--connections', '20'),
      await cluster.load(2, url, '--rate', '100', '--connections', '10', '--fresh'),
    ]
  }
  /** Returns the layers that served. */
  const losesNothing = async (loads: readonly Load[]): Promise<ReadonlySet<string>> => {
    const reports = await Promise.all(loads.map(load => load.end()))
    for (const { requests, errors } of reports) {
      assert.deepEqual(errors, {})
      assert.ok(requests > 300, `${requests} requests`)
    }
    return new Set(reports.flatMap(({ layers }) => Object.keys(layers)))
  }
  const reachesEnvoy = (node: number) =>
    eventually(60, async () => {
      const answer = await cluster.curl(node, 'http://whoami.whoami.svc.cluster.local')
      assert.match(answer, /^HTTP\/1.1 200/)
      assert.match(answer, /X-Envoy-Attempt-Count: 1/i)
      assert.match(answer, /X-Envoy-Expected-Rq-Timeout-Ms: 5000/i)
      assert.match(answer, /X-Forwarded-Proto: http/i)
      assert.match(answer, /X-Request-Id: /i)
    })

  test('hands over a Service that is created afterwards', async () => {
    const labels = await cluster.kubectl('get', 'service', 'whoami', '-o', 'jsonpath={.metadata.labels}')
    assert.equal(JSON.parse(labels)[proxyName], 'lightpath.cloud')
  })

  for (const node of nodes) {
    test(`shows Envoy's headers to a pod on node${node}`, () => reachesEnvoy(node))
  }

  test('gives agent and Envoy the capability NET_ADMIN alone, and Envoy a user of its own', async () => {
    const status = (daemonSet: string) => ours('exec', `daemonset/${daemonSet}`, '--', 'cat', '/proc/1/status')
    const [node, proxy] = [await status('lightpath-node'), await status('lightpath-proxy')]
    assert.match(node, new RegExp(`^CapBnd:\\s${capNetAdmin}$`, 'm'))
    assert.match(node, /^NoNewPrivs:\s1$/m)
    assert.match(proxy, new RegExp(`^CapEff:\\s${capNetAdmin}$`, 'm'))
    assert.match(proxy, new RegExp(`^CapBnd:\\s${capNetAdmin}$`, 'm'))
    assert.match(proxy, /^Uid:\s61166\s/m)
  })

  test('has neither nft nor conntrack in the image of the agent, which speaks to the kernel itself', async () => {
    const found = await ours('exec', 'daemonset/lightpath-node', '--', 'find', '/', '-xdev')
    const names = new Set(found.split('\n').map(path => path.slice(path.lastIndexOf('/') + 1)))
    assert.deepEqual(
      ['node', 'ipset', 'nft', 'conntrack'].filter(name => names.has(name)),
      ['node', 'ipset'],
    )
    assert.deepEqual(
      [...names].filter(name => /^lib(nftables|nftnl|netfilter_conntrack)/.test(name)),
      [],
    )
  })

  test("shows Envoy's admin pages by port-forward to its pod, and changes nothing there", async () => {
    const ask = (...args: readonly [path: string, ...args: string[]]) =>
      cluster.askForwarded('daemonset/lightpath-proxy', 15000, ...args)
    assert.match(await ask('/config_dump'), /envoy\.admin\.v3\.BootstrapConfigDump/)
    assert.match(await ask('/quitquitquit', '-X', 'POST'), /^Only GET of what changes nothing is answered here/)
  })

  test('closes the directory of the sockets to all but root and Envoy', async () => {
    for (const node of nodes) {
      const stat = await cluster.hack('node', String(node), 'stat', '-c', '%u %g %a', '/run/lightpath/envoy')
      assert.equal(stat.trim(), '0 61166 1770')
    }
  })

  test('has all that the agent runs in its image', async () => {
    const inAgent = (command: string) => ours('exec', 'daemonset/lightpath-node', '--', 'sh', '-c', command)
    const text = await inAgent('lightpath status')
    assert.match(text, /path of pods to Envoy, IPv4: open/)
    assert.match(text, /problems: none/)
    assert.equal(await inAgent('lightpath debug dump --file - 2>&1 >/dev/null'), '')
    assert.ok(Number(await inAgent('lightpath debug dump --file - | wc -c')) > 10_000)
  })

  test("balances by latency where a Service's annotation says so, with the module of the image", async () => {
    const annotate = (value: string) => cluster.kubectl('annotate', 'service', 'whoami', `${lbPolicy}${value}`)
    await annotate('=PEAK_EWMA')
    await eventually(60, async () => {
      for (const node of nodes) await cluster.curl(node, 'http://whoami.whoami.svc.cluster.local')
      const text = await ours('exec', 'daemonset/lightpath-node', '--', 'lightpath', 'explain', 'whoami/whoami')
      assert.match(text, /an endpoint is chosen by PEAK_EWMA$/m)
      assert.match(text, /^ +ENDPOINT .* ANSWERS IN +FAILING +SHARE$/m)
    })
    await annotate('-')
  })

  /** Returns when the pods of before have ended. */
  const update = async (...daemonSets: readonly string[]) => {
    for (const daemonSet of daemonSets) await ours('rollout', 'restart', `daemonset/${daemonSet}`)
    for (const daemonSet of daemonSets) {
      await ours('rollout', 'status', `daemonset/${daemonSet}`, '--timeout', '180s')
    }
    await eventually(120, async () => {
      const pods = await ours('get', 'pods', '-l', 'app.kubernetes.io/component in (proxy, node)', '-o', 'name')
      assert.equal(pods.trim().split('\n').length, 2 * nodes.length, pods)
    })
  }

  test('a rolling update of Envoy under 300 requests/s loses none, and an Envoy answers every one', async () => {
    const load = await someLoad()
    await update('lightpath-proxy')
    assert.deepEqual([...(await losesNothing(load))], ['envoy'])
    for (const node of nodes) await reachesEnvoy(node)
  })

  test('a rolling update of Envoy and agent at once under 300 requests/s loses none', async () => {
    const load = await someLoad()
    await update('lightpath-proxy', 'lightpath-node')
    await losesNothing(load)
    for (const node of nodes) await reachesEnvoy(node)
  })

  test('a node that starts again costs pods of another node no request, by either layer', async () => {
    const pod = ['--image', 'docker.io/traefik/whoami:v1.11.0', '--overrides', '{"spec":{"nodeName":"node1"}}']
    await cluster.kubectl('run', 'steady', ...pod, '--port', '8080', '--expose', '--', '--port=8080')
    await cluster.kubectl('wait', '--for=condition=Ready', 'pod/steady', '--timeout=60s')
    const [url, steady] = [await cluster.url('whoami'), (await cluster.url('steady')).replace(/\/$/, ':8080/')]
    await reachesEnvoy(1)
    const http = [
      await cluster.load(1, url, '--rate', '100', '--connections', '10'),
      await cluster.load(1, url, '--rate', '50', '--connections', '10', '--fresh'),
    ]
    const plain = [await cluster.load(1, steady, '--rate', '50', '--connections', '5', '--fresh')]
    await cluster.hack('reboot', '2')
    await eventually(120, async () => {
      const path = '{range .items[*].status.containerStatuses[*]}{.restartCount} {.ready}{"\\n"}{end}'
      const onNode2 = ['--field-selector', 'spec.nodeName=node2', '-l', 'app.kubernetes.io/component in (proxy, node)']
      assert.equal(await ours('get', 'pods', ...onNode2, '-o', `jsonpath=${path}`), '1 true\n1 true\n')
    })
    await reachesEnvoy(2)
    assert.deepEqual([...(await losesNothing(http))], ['envoy'])
    assert.deepEqual([...(await losesNothing(plain))], ['kernel'])
    await cluster.kubectl('delete', 'pod,service', 'steady')
  })

  test('make undeploy under 300 requests/s loses none, hands Services back and leaves nothing on any node', async () => {
    const load = await someLoad()
    await cluster.deploy('down')
    await losesNothing(load)
    await isGone()
  })

  /** kube-proxy serves, and neither a node nor the cluster has anything of ours. */
  const isGone = async () => {
    for (const node of nodes) {
      const answer = await cluster.curl(node, 'http://whoami')
      assert.match(answer, /^HTTP\/1.1 200/)
      assert.doesNotMatch(answer, /X-Envoy/i)
      const inNode = (...command: readonly string[]) => cluster.hack('node', String(node), ...command)
      assert.doesNotMatch(await inNode('nft', 'list', 'tables'), /lightpath/)
      assert.doesNotMatch(await inNode('ip', 'rule', 'show'), /1666/)
      assert.doesNotMatch(await inNode('ip', '-6', 'rule', 'show'), /1666/)
      assert.equal((await inNode('ss', '-Hltn', 'sport = :1666 or sport = :15000 or sport = :9000')).trim(), '')
      assert.equal((await inNode('find', '/run/lightpath', '-type', 's')).trim(), '')
    }
    const kinds = 'clusterroles,clusterrolebindings,mutatingwebhookconfigurations'
    const left = await cluster.kubectl('get', kinds, '-o', 'name')
    const namespaces = await cluster.kubectl(
      'get',
      'namespaces',
      '--field-selector',
      'status.phase=Active',
      '-o',
      'name',
    )
    assert.doesNotMatch(left + namespaces, /lightpath/)
  }

  test('make deploy SERVICES=all serves a cluster without kube-proxy, and endpoints see the client, which each node proves', async () => {
    await cluster.hack('kube-proxy', 'none')
    await cluster.deploy('up', 'all')
    for (const node of nodes) {
      await reachesEnvoy(node)
      const addresses = await cluster.client(node, 'cat', '/proc/net/fib_trie')
      await eventually(60, async () => {
        const [, seen] = /^RemoteAddr: (\S+):\d+/m.exec(await cluster.curl(node, '-4', 'http://whoami'))!
        assert.match(addresses, new RegExp(`\\b${seen}\\b`))
      })
      await reachesEnvoy(node)
    }
    assert.match(await cluster.hack('node', '1', 'sysctl', 'net.ipv4.ip_local_port_range'), /32768\s65535/)
  })

  // Last of all: Kubernetes takes minutes for a namespace that had pods which may take minutes to end.
  test('one command gives every Service back, and leaves nothing, after somebody deleted the namespace', async () => {
    await cluster.hack('kube-proxy', 'nftables')
    await cluster.deploy('up')
    await cluster.kubectl('label', '--overwrite', 'service', 'whoami', `${proxyName}=lightpath.cloud`)
    for (const node of nodes) await reachesEnvoy(node)
    await cluster.kubectl('delete', 'namespace', 'lightpath-system', '--wait=false')
    const load = await cluster.load(1, await cluster.url('whoami'), '--rate', '100', '--connections', '10', '--fresh')
    await cluster.deploy('down')
    await losesNothing([load])
    const labelled = await cluster.kubectl('get', 'services', '-A', '-l', proxyName, '-o', 'name')
    assert.equal(labelled.trim(), '')
    await isGone()
  })
})
