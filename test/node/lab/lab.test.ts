import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { askTcp, askUdp, curl, setFault, startLoad } from '../../../src/lab/clients.ts'
import { destroyStale } from '../../../src/lab/leftovers.ts'
import { createNetwork, type Network } from '../../../src/lab/network.ts'
import { type RunningPod, startPod } from '../../../src/lab/pods.ts'
import { runIn } from '../../../src/lab/processes.ts'
import { pause, waitFor } from '../../../src/lab/wait.ts'
import { skip } from '../agent/lab.ts'

describe('a lab of two nodes', { skip }, () => {
  let network: Network
  let client: RunningPod
  let near: RunningPod
  let far: RunningPod

  before(async () => {
    network = await createNetwork({ nodes: 2 })
    const plan = (name: string, number: number, host: number) => ({
      name,
      node: `node${number}`,
      addresses: [`10.244.${number}.${host}`, `fd00:244:${number}::${host}`],
      http: [80],
      tcp: [7],
      udp: [53],
    })
    ;[client, near, far] = await Promise.all([
      startPod(network, plan('client', 1, 2)),
      startPod(network, plan('near', 1, 11)),
      startPod(network, plan('far', 2, 11)),
    ])
  })

  after(() => network?.destroy())

  test('pods reach each other on their node and across nodes, over IPv4 and IPv6, with their own addresses', async () => {
    for (const pod of [near, far]) {
      const ipv4 = await curl(client, [`http://${pod.ip}/`])
      assert.match(ipv4.stdout, new RegExp(`^Hostname: ${pod.name}\n`))
      assert.match(ipv4.stdout, /^RemoteAddr: 10\.244\.1\.2:\d+$/m)
      const ipv6 = await curl(client, [`http://[${pod.ip6}]/`])
      assert.match(ipv6.stdout, /^RemoteAddr: \[fd00:244:1::2\]:\d+$/m)
      assert.equal(await askUdp(client, pod.ip, 53, 'hello'), `${pod.name} hello`)
      assert.equal(await askUdp(client, pod.ip6, 53, 'hello'), `${pod.name} hello`)
      assert.equal(await askTcp(client, pod.ip, 7, 'hello'), `${pod.name}\nhello\n`)
      assert.equal(await askTcp(client, pod.ip6, 7, 'hello'), `${pod.name}\nhello\n`)
    }
  })

  test('the node end of a pod has no address but the link-local one that IPv6 makes of its MAC', async () => {
    const { stdout } = await runIn(network.nodes[0]!.netns, 'ip', ['-json', 'address', 'show', 'dev', near.hostLink])
    const [link] = JSON.parse(stdout) as { addr_info: { family: string; scope: string }[] }[]
    assert.deepEqual(
      link!.addr_info.map(({ family, scope }) => `${family} ${scope}`),
      ['inet6 link'],
    )
  })

  test('a node has its own address, and an address that nobody serves is refused rather than swallowed', async () => {
    const [node1, node2] = network.nodes
    const response = await curl(node1!, [`http://${far.ip}/`])
    assert.match(response.stdout, new RegExp(`^RemoteAddr: ${node1!.address}:`, 'm'))
    assert.deepEqual([node1!.address, node2!.address6], ['172.30.0.11', 'fd00:30::12'])
    for (const from of [client, node1!]) assert.equal((await curl(from, ['http://10.96.0.99/'])).code, 7)
  })

  test('a name of the hosts file resolves inside the pod, and only there', async () => {
    const hostsFile = join(network.directory, 'hosts')
    writeFileSync(hostsFile, `${far.ip} whoami.whoami.svc\n${near.ip6} near.whoami.svc\n`)
    assert.match(
      (await curl(client, ['http://whoami.whoami.svc/'], { hostsFile })).stdout,
      /^Hostname: far\n(.*\n)*Host: whoami\.whoami\.svc\n/,
    )
    assert.match((await curl(client, ['http://near.whoami.svc/'], { hostsFile })).stdout, /^Hostname: near$/m)
    assert.equal((await curl(client, ['--max-time', '0.5', 'http://whoami.whoami.svc/'])).stdout, '')
    assert.doesNotMatch(readFileSync('/etc/hosts', 'utf8'), /whoami/)
  })

  test('load says who answered, what failed, and that a connection stays at its endpoint without a proxy', async () => {
    const load = await startLoad(network, client, { url: `http://${far.ip}/`, connections: 3, requests: 300 })
    const report = await load.report
    assert.deepEqual(Object.keys(report.endpoints), ['far'])
    assert.equal(report.layers.kernel?.requests, 300)
    assert.deepEqual(report.endpointsPerConnection, [1, 1, 1])

    const single = { url: `http://${far.ip}/`, connections: 1, requests: 20, fresh: true }
    assert.equal((await (await startLoad(network, client, single)).report).ok, 20)

    await setFault(far, 80, 500)
    const failing = await (await startLoad(network, client, { url: `http://${far.ip}/`, connections: 1, requests: 10 }))
      .report
    assert.deepEqual(failing.errors, { 'HTTP 500': 10 })
    await setFault(far, 80, 200)
    assert.match((await curl(client, [`http://${far.ip}/`])).stdout, /^Hostname: far/)
  })

  test('load at a rate goes on until it is stopped', async () => {
    const began = performance.now()
    const load = await startLoad(network, client, { url: `http://${near.ip}/`, connections: 5, rate: 200 })
    await pause(1000)
    const report = await load.stop()
    const seconds = (performance.now() - began) / 1000
    assert.deepEqual(report.errors, {})
    assert.ok(report.ok > 0 && report.ok < 210 * seconds, `${report.ok} requests at 200 a second in ${seconds} s`)
  })

  test('a pod that is removed is gone from its node, and its address is free again', async () => {
    const pod = await network.addPod('node2', 'short-lived', { host: 77 })
    await assert.rejects(network.addPod('node2', 'other', { host: 77 }), /taken/)
    await network.removePod(pod.name)
    const { stdout } = await runIn(network.nodes[1]!.netns, 'ip', ['route'])
    assert.doesNotMatch(stdout, /10\.244\.2\.77/)
    await network.addPod('node2', 'other', { host: 77 })
    await network.removePod('other')
  })
})

test('destroy leaves no process, namespace, link or file behind, also of processes that do not end by themselves', {
  skip,
}, async () => {
  const network = await createNetwork({ nodes: 1, families: ['IPv4'] })
  const [node] = network.nodes
  const stubborn = await network.processes.spawnIn(node!.netns, 'sh', [
    '-c',
    'trap "" TERM; sleep 300 & wait; sleep 300',
  ])
  const stopped = await network.processes.spawnIn(node!.netns, 'sleep', ['300'])
  stopped.kill('SIGSTOP')
  const grandchild = await waitFor('a grandchild', 30_000, () => childOf(stubborn.pid))
  await network.destroy()
  for (const pid of [stubborn.pid, stopped.pid, grandchild]) await waitFor('an end', 30_000, () => ended(pid))
  assert.deepEqual(traces(network.name), [])
  assert.deepEqual(
    [await stubborn.exited, await stopped.exited].map(exit => exit.signal),
    ['SIGKILL', 'SIGTERM'],
  )
  await network.destroy()
})

for (const [how, end] of [
  ['is told to end', (pid: number) => process.kill(pid, 'SIGTERM')],
  ['is interrupted', (pid: number) => process.kill(pid, 'SIGINT')],
] as const) {
  test(`a lab whose owner ${how} leaves nothing behind`, { skip }, async () => {
    const { owner, name, pod } = await labOfAnother()
    end(owner.pid!)
    await once(owner, 'exit')
    assert.deepEqual(traces(name), [])
    await waitFor('an end', 30_000, () => ended(pod))
  })
}

test('a lab whose owner fails with an error leaves nothing behind', { skip }, async () => {
  const { owner, name, pod } = await labOfAnother()
  owner.stdin.end()
  await once(owner, 'exit')
  assert.deepEqual(traces(name), [])
  await waitFor('an end', 30_000, () => ended(pod))
})

test('a lab whose owner was killed is removed by the next one, which leaves living labs alone', { skip }, async () => {
  const living = await createNetwork({ nodes: 1, families: ['IPv4'] })
  try {
    const { owner, name, pod } = await labOfAnother()
    owner.kill('SIGKILL')
    await once(owner, 'exit')
    assert.notDeepEqual(traces(name), [])
    destroyStale()
    assert.deepEqual(traces(name), [])
    await waitFor('an end', 30_000, () => ended(pod))
    assert.equal((await runIn(living.nodes[0]!.netns, 'ip', ['route'])).code, 0)
    assert.ok(existsSync(living.directory))
  } finally {
    await living.destroy()
  }
})

/** A lab with a process in it that another process owns, which fails with an error when its stdin ends. */
async function labOfAnother() {
  const path = fileURLToPath(new URL('../../../src/lab/network.ts', import.meta.url))
  const script = `
    import { createNetwork } from ${JSON.stringify(path)}
    const network = await createNetwork({ nodes: 1, families: ['IPv4'] })
    const pod = await network.addPod('node1', 'pod')
    const child = await network.processes.spawnIn(pod.netns, 'sh', ['-c', 'echo there; exec sleep 300'], { pipeStdout: true })
    // From now on it is in its namespace.
    await new Promise(resolve => child.stdout.once('data', resolve))
    console.log(JSON.stringify({ name: network.name, pid: child.pid }))
    process.stdin.resume().on('end', () => { throw new Error('as a bug would') })`
  const owner = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  const [line] = (await once(owner.stdout, 'data')) as [Buffer]
  const { name, pid } = JSON.parse(line.toString()) as { name: string; pid: number }
  return { owner, name, pod: pid }
}

/** Namespaces and files of a lab. */
function traces(name: string): string[] {
  return [...readdirSync('/run/netns'), ...readdirSync(tmpdir())].filter(entry => entry.startsWith(name))
}

function childOf(pid: number): number | undefined {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0]) || undefined
}

/** Gone, or only waiting for its parent to take note. */
function ended(pid: number): boolean {
  try {
    return / Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return true
  }
}
