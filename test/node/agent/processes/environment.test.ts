import assert from 'node:assert/strict'
import { existsSync, mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { xdsSocket } from '../../../../src/envoy/program/sockets.ts'
import type { RunningPod } from '../../../../src/lab/pods.ts'
import { type Child, run, runIn } from '../../../../src/lab/processes.ts'
import type { Supervised } from '../../../../src/lab/supervisor.ts'
import { setsOfEveryKind, versionsOfNft } from '../../kernel/foreign-sets.ts'
import { serviceWith } from '../../manifests.ts'
import { AgentLab, skip } from '../lab.ts'

/** All problems with the kernel, but for the path to Envoy, whose test a machine that stands still for 2 s fails. */
const kernelProblem = /LP4(?!02)/
const firewalld = fileURLToPath(new URL('../../../../tools/firewalld', import.meta.url))

describe('on a node where something is missing or taken', { skip }, () => {
  let lab: AgentLab
  let client: RunningPod
  const url = 'http://10.96.3.1/'
  let agent: Supervised

  before(async () => {
    lab = await AgentLab.build()
    const [first, ...pods] = await lab.pods(['client', 'web-1', 'web-2'], 10)
    client = first!
    lab.write('web', serviceWith({ name: 'web', vips: ['10.96.3.1'] }, pods))
    agent = lab.agent
  })

  after(() => lab?.destroy())

  afterEach(async () => {
    await Promise.all([agent.down(), lab.envoy.down()])
    agent = lab.agent
    await lab.lightpath('cleanup')
    lab.forgetLog()
  })

  const untilOk = (page: string) => lab.until(page, async () => (await lab.page(page)) === 'ok\n')

  /** Another program that listens on a TCP port or a Unix socket of the node. */
  async function occupy(where: string): Promise<Child> {
    const script = `require('net').createServer().listen(${where}, () => process.stdout.end('listening'))`
    const child = await lab.network.processes.spawnIn(lab.node.netns, process.execPath, ['--eval', script], {
      pipeStdout: true,
    })
    await new Promise(resolve => child.stdout!.once('data', resolve))
    return child
  }

  test('without an Envoy the agent runs and the kernel layer serves everything', async () => {
    await agent.up()
    await lab.untilServedBy('kernel', client, url)
    await untilOk('/healthz')
    await untilOk('/readyz')
    await lab.untilMetric('lightpath_envoy_up', 0)
    const { stdout } = await lab.lightpath('explain', 'default/web', '--socket', lab.socket)
    assert.match(stdout, /Envoy is down or not connected/)
    assert.match(stdout, /kernel for now; meant for Envoy/)
  })

  test('an Envoy of an older version is reported, and the kernel layer serves', async () => {
    await agent.up()
    await lab.untilServedBy('kernel', client, url)
    const program = fileURLToPath(new URL('old-envoy.ts', import.meta.url))
    const xds = xdsSocket(lab.envoySockets)
    await lab.until('the xDS server', () => existsSync(xds))
    const old = await lab.network.processes.spawnIn(lab.node.netns, process.execPath, [program, xds])
    await lab.untilLogged(/LP302.*"Envoy old".*1\.20\.0, older than 1\.40\.0.*install 1\.40\.0.*"problem"/)
    assert.match(await lab.ask(client, url), / by kernel$/)
    await lab.untilMetric('lightpath_problems{code="LP302"}', 1)
    await old.stop()
    await lab.untilLogged(/LP302.*"problem is over"/)
  })

  test('with the xDS socket taken the kernel layer serves, the socket is named, and Envoy comes in when it is free', async () => {
    const other = await occupy(JSON.stringify(xdsSocket(lab.envoySockets)))
    await Promise.all([agent.up(), lab.envoy.up()])
    await lab.untilServedBy('kernel', client, url)
    const line = await lab.untilLogged(/LP302.*xds\.sock.*"problem"/)
    assert.match(line, /another agent uses it; stop it or choose another.*the kernel layer serves all Services/)
    await other.stop()
    await lab.untilServedBy('envoy', client, url)
    await lab.untilLogged(/LP302.*"problem is over"/)
  })

  test('with ports 9000 and the socket taken everything works, both are named, and both come when they are free', async () => {
    const others = [await occupy('9000, "0.0.0.0"'), await occupy(JSON.stringify(lab.socket))]
    await Promise.all([agent.up(), lab.envoy.up()])
    await lab.untilServedBy('envoy', client, url)
    assert.match(await lab.untilLogged(/LP501.*9000/), /in use by another process.*all else works/)
    assert.match(await lab.untilLogged(/LP501.*agent\.sock/), /another agent uses it; stop it.*all else works/)
    for (const other of others) other.kill('SIGKILL')
    await lab.until('metrics', () => lab.page('/metrics'))
    await lab.until('the socket', () => lab.explain('default/web'))
  })

  for (const port of [1666, 1667]) {
    test(`with port ${port} taken the kernel layer serves, the problem names it, and the overlay is there when it is free`, async () => {
      const other = await occupy(String(port))
      await Promise.all([agent.up(), lab.envoy.up()])
      await lab.untilEnvoyIsUp()
      const line = await lab.untilLogged(/LP301.*(redirect|shared)-.*"problem"/)
      assert.match(line, new RegExp(`cannot bind '0\\.0\\.0\\.0:${port}'.*Address already in use`))
      assert.match(await lab.ask(client, url), / by kernel$/)
      assert.deepEqual(await lab.overlay(), [])
      await other.stop()
      await lab.untilServedBy('envoy', client, url)
      await lab.untilLogged(/LP301.*"problem is over"/)
    })
  }

  test('without any program of the system on the PATH the agent works: it speaks to the kernel itself', async () => {
    const path = join(lab.network.directory, 'path')
    mkdirSync(path)
    const link = async (name: string) => {
      const { stdout } = await run('sh', ['-c', `command -v ${name}`])
      symlinkSync(stdout.trim(), join(path, name))
    }
    for (const name of ['nsenter', 'readlink', 'dirname']) await link(name)
    agent = lab.agentWith({ env: { PATH: path } })
    await Promise.all([agent.up(), lab.envoy.up()])
    await lab.untilServedBy('envoy', client, url)
    await untilOk('/healthz')
    assert.doesNotMatch(lab.agentLog(), kernelProblem)
  })

  test('chains of others that drop what our rules need are named while they are there; what accepts is none', async () => {
    const nft = async (text: string) => {
      const { code, stderr } = await runIn(lab.node.netns, 'nft', [text])
      assert.equal(code, 0, stderr)
    }
    await nft('table inet early { chain taken { type filter hook prerouting priority -300; accept; }; }')
    await agent.up()
    await lab.untilServedBy('kernel', client, url)
    await nft('table ip fw { chain pre { type filter hook prerouting priority -200; jump strict; }; chain strict {}; }')
    await nft('add rule ip fw strict ip daddr 10.96.3.1 drop')
    const before = await lab.untilLogged(/LP407.*ip fw pre.*"problem"/)
    assert.match(before, /drop before our rules see the packet: ip fw pre \(priority -200\)".*a priority over -150/)
    assert.doesNotMatch(lab.agentLog(), /inet early/)
    await nft('flush chain ip fw strict')
    await lab.untilLogged(/LP407.*ip fw pre.*"problem is over"/)
    await nft(
      'table ip wall { chain through { type filter hook forward priority 10; policy drop; ct state established accept; }; }',
    )
    const closed = await lab.untilLogged(/LP407.*ip wall through.*"problem"/)
    assert.match(closed, /drop every new connection: ip wall through".*have them accept/)
    await lab.untilMetric('lightpath_problems{code="LP407"}', 1)
    for (const table of ['inet early', 'ip fw', 'ip wall']) await nft(`delete table ${table}`)
    await lab.untilLogged(/LP407.*ip wall through.*"problem is over"/)
    await lab.untilServedBy('kernel', client, url)
  })

  test('beside sets of every kind by an older and a newer nft preflight says ok, and Services are served', async () => {
    for (const program of await versionsOfNft()) {
      const nft = (...args: readonly string[]) => runIn(lab.node.netns, program, args, { input: setsOfEveryKind })
      const { code, stderr } = await nft('-f', '-')
      assert.equal(code, 0, stderr)
      const { stdout } = await lab.lightpath('preflight', '--output', 'json')
      const { checks } = JSON.parse(stdout) as { readonly checks: readonly { name: string; outcome: string }[] }
      const outcomes = new Map(checks.map(({ name, outcome }) => [name, outcome]))
      for (const name of ['nftables, IPv4', 'nftables, IPv6', 'firewall', 'marks in rules']) {
        assert.equal(outcomes.get(name), 'ok', `${program}: ${name}`)
      }
      const here = lab.agent
      await Promise.all([here.up(), lab.envoy.up()])
      await lab.untilServedBy('envoy', client, url)
      assert.doesNotMatch(lab.agentLog(), kernelProblem)
      await Promise.all([here.down(), lab.envoy.down()])
      assert.match(await lab.ask(client, url), / by kernel$/)
      await lab.lightpath('cleanup')
      assert.equal((await nft('list', 'tables')).stdout, 'table inet fw\n')
      await nft('delete', 'table', 'inet', 'fw')
    }
  })

  for (const suite of ['', 'trixie']) {
    test(`beside the ruleset of firewalld${suite && ` of Debian's ${suite}`} the kernel layer serves, and Envoy where firewalld trusts the pods`, async () => {
      const { stdout, stderr } = await run(firewalld, suite === '' ? [] : [suite])
      const firewall = (...trusted: readonly string[]) => runIn(lab.node.netns, stdout.trim(), trusted)
      assert.equal((await firewall()).code, 0, stderr)
      const { stdout: report } = await lab.lightpath('preflight')
      assert.match(report, /^ *ok +nftables, IPv4 /m)
      assert.match(report, /^ *warning +firewall +firewalld$/m)
      await Promise.all([agent.up(), lab.envoy.up()])
      await lab.untilLogged(/LP402.*drops or rejects at input.*"problem"/)
      await lab.untilServedBy('kernel', client, url)
      assert.equal((await firewall('10.244.0.0/16')).code, 0)
      await lab.untilServedBy('envoy', client, url)
      await Promise.all([agent.down(), lab.envoy.down()])
      await lab.untilServedBy('kernel', client, url)
      await lab.lightpath('cleanup')
      // An older nft may crash at a newer one's sets.
      const newest = (await versionsOfNft()).at(-1)!
      assert.equal((await runIn(lab.node.netns, newest, ['list', 'tables'])).stdout, 'table inet firewalld\n')
      await runIn(lab.node.netns, newest, ['delete', 'table', 'inet', 'firewalld'])
    })
  }

  test('without permission the agent says which one it needs', async () => {
    agent = lab.agentWith({ behind: ['setpriv', '--bounding-set', '-net_admin'] })
    await agent.up()
    const line = await lab.untilLogged(/LP401.*"problem"/)
    assert.match(line, /nf_tables.*EPERM.*run as root, or with the capability CAP_NET_ADMIN/)
    await untilOk('/healthz')
  })
})
