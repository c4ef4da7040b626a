/** The kernel layer by iptables and ipset, with real traffic. */

import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { cleanupIptables } from '../../src/kernel/iptables/install.ts'
import { IptablesLayer } from '../../src/kernel/iptables/layer.ts'
import { IptablesPrograms } from '../../src/kernel/iptables/programs.ts'
import { renderRules } from '../../src/kernel/iptables/render.ts'
import type { Flush } from '../../src/kernel/layer.ts'
import { noPolicies } from '../../src/kernel/nodeconfig.ts'
import type { KernelOptions } from '../../src/kernel/options.ts'
import { runCommand } from '../../src/kernel/system/command.ts'
import { belowFromOutside, portState } from '../../src/kernel/testing/states.ts'
import type { Pod } from '../../src/lab/network.ts'
import type { Problem } from '../../src/services/problem.ts'
import { KernelLab, needsRoot } from './kernel-lab.ts'

const udp = { port: { name: 'dns', protocol: 'UDP', port: 53 } } as const
const skip = needsRoot.skip || (!existsSync('/usr/sbin/ipset') && 'needs ipset (Debian: ipset)')

for (const variant of ['nft', 'legacy'] as const)
  describe(`The kernel layer by iptables (${variant})`, { skip }, () => {
    let programs: string
    /** Words before each command: in the node's network, with these programs of iptables. */
    const prefix = () => [...lab.options.prefix!, 'env', `PATH=${programs}:${process.env.PATH}`]
    let lab: KernelLab
    let near: Pod
    let far: Pod
    let client: Pod
    let layer: IptablesLayer
    const flushes: Flush[] = []
    const problems = new Map<string, readonly Problem[]>()

    const at = (pods: Pod[], address: 'ip' | 'ip6', port: string) =>
      pods.map(pod => `${pod[address]}${port}@${pod.node}`)
    const web = (...pods: Pod[]) => portState('a/web/http', '10.96.0.1', at(pods, 'ip', ':8080'))
    const web6 = (...pods: Pod[]) => portState('a/web/http/IPv6', 'fd00:96::1', at(pods, 'ip6', ' 8080'))
    const dns = (...pods: Pod[]) => portState('a/dns/dns', '10.96.0.2', at(pods, 'ip', ':5353'), udp)
    const dns6 = (...pods: Pod[]) => portState('a/dns/dns/IPv6', 'fd00:96::2', at(pods, 'ip6', ' 5353'), udp)
    const all = () => [web(near, far), web6(near, far), dns(far), dns6(far)]

    async function run(more: Partial<KernelOptions> = {}): Promise<IptablesLayer> {
      const next = new IptablesLayer(
        { ...lab.options, ...more, prefix: prefix() },
        {
          flushed: flush => void flushes.push(flush),
          problems: (origin, found) => void (found.length > 0 ? problems.set(origin, found) : problems.delete(origin)),
        },
      )
      await next.start()
      return next
    }

    async function set(...states: readonly ReturnType<typeof web>[]): Promise<void> {
      for (const state of states) layer.setPort(state)
      await layer.settled()
    }

    const onNode = (command: string, ...args: readonly string[]) =>
      lab.onNode('env', `PATH=${programs}:${process.env.PATH}`, command, ...args)

    const saved = async () => {
      const tables = await Promise.all([onNode('iptables-save'), onNode('ip6tables-save')])
      return `${tables.join('')}${await onNode('ipset', 'save')}`.replaceAll(
        /^#.*\n|\[\d+:\d+\]| initval \S+| timeout \d+/gm,
        '',
      )
    }

    before(async () => {
      programs = mkdtempSync(join(tmpdir(), 'lightpath-iptables-'))
      for (const name of ['iptables', 'ip6tables']) {
        for (const program of ['', '-save', '-restore']) {
          symlinkSync(`/usr/sbin/xtables-${variant}-multi`, join(programs, `${name}${program}`))
        }
      }
      lab = await KernelLab.create()
      near = await lab.addServer('node1', 'near')
      far = await lab.addServer('node2', 'far')
      client = await lab.network.addPod('node1', 'client')
      layer = await run()
      for (const state of all()) layer.setPort(state)
      layer.synced()
      await layer.settled()
    })
    after(async () => {
      await layer?.close()
      await lab?.destroy()
      rmSync(programs, { recursive: true, force: true })
    })

    test('iptables and ipset accept all of it', () => assert.deepEqual([...problems], []))

    for (const [family, vip] of [
      ['IPv4', '10.96.0.1'],
      ['IPv6', 'fd00:96::1'],
    ] as const) {
      const isIPv4 = family === 'IPv4'
      const with_ = (...pods: Pod[]) => (isIPv4 ? web(...pods) : web6(...pods))

      test(`TCP over ${family} comes out at every endpoint, and the client keeps its address`, async () => {
        const seen = new Set<string>()
        for (let n = 0; n < 30 && seen.size < 2; n++) seen.add(await lab.connect(client.netns, vip, 80))
        const address = isIPv4 ? client.ip : client.ip6
        assert.deepEqual([...seen].toSorted(), [`far ${address}`, `near ${address}`])
      })

      test(`A process of the node reaches a Service over ${family}`, async () => {
        assert.match(await lab.connect(lab.node.netns, vip, 80), /^(near|far) /)
      })

      test(`UDP over ${family} is answered`, async () => {
        const [ip, address] = isIPv4 ? ['10.96.0.2', client.ip] : ['fd00:96::2', client.ip6]
        assert.equal(await lab.ask(client.netns, 'ask', ip, '53', '40000'), `far ${address}`)
      })

      test(`A pod reaches itself through its own Service over ${family}`, async () => {
        await set(with_(near))
        assert.match(await lab.connect(near.netns, vip, 80), /^near /)
        await set(with_(near, far))
      })

      test(`A Service without endpoints refuses at once over ${family}, pods and the node's own processes`, async () => {
        await set(with_())
        assert.equal(await lab.connect(client.netns, vip, 80), 'ECONNREFUSED')
        assert.equal(await lab.connect(lab.node.netns, vip, 80), 'ECONNREFUSED')
        await set(with_(near, far))
        assert.match(await lab.connect(client.netns, vip, 80), /^(near|far) /)
      })
    }

    for (const vip of ['10.96.0.1', 'fd00:96::1']) {
      test(`A port that the Service of ${vip} does not have is refused at once, to pods and the node's own processes`, async () => {
        for (const { netns } of [client, lab.node]) assert.equal(await lab.connect(netns, vip, 8443), 'ECONNREFUSED')
        assert.equal(await lab.ask(client.netns, 'ask', vip, '8443', '40010'), 'ECONNREFUSED')
        assert.match(await lab.connect(client.netns, vip, 80), /^(near|far) /)
      })
    }

    test('An address of the Service range that no Service has is dropped, and Services in it work', async () => {
      layer.setServiceRanges(['10.96.0.0/16', '10.96.128.0/17', 'fd00:96::/112'])
      await layer.settled()
      assert.deepEqual([...problems], [])
      assert.equal(await lab.connect(client.netns, '10.96.77.7', 80), 'timeout')
      assert.equal(await lab.connect(lab.node.netns, 'fd00:96::7777', 80), 'timeout')
      for (const vip of ['10.96.0.1', 'fd00:96::1']) {
        assert.match(await lab.connect(client.netns, vip, 80), /^(near|far) /)
        assert.equal(await lab.connect(client.netns, vip, 8443), 'ECONNREFUSED')
      }
    })

    test('A Service whose endpoints are all elsewhere drops', async () => {
      await set({ ...web(), noLocalEndpoints: true })
      assert.equal(await lab.connect(client.netns, '10.96.0.1', 80), 'timeout')
      await set(web(near, far))
    })

    test('A UDP client with a fixed port follows when its endpoint is gone', async () => {
      const ask = () => lab.ask(client.netns, 'ask', '10.96.0.2', '53', '40001')
      assert.equal(await ask(), `far ${client.ip}`)
      await set(dns(near))
      assert.equal(await ask(), `near ${client.ip}`)
      await set(dns())
      assert.equal(await ask(), 'ECONNREFUSED')
      await set(dns(far))
      assert.equal(await ask(), `far ${client.ip}`)
    })

    test('A client stays with its endpoint where the Service asks for it, also when others come, until it is gone', async () => {
      const sticky = (...pods: Pod[]) => ({ ...web(...pods), affinitySeconds: 600 })
      const answers = async (count: number) => {
        const seen = new Set<string>()
        for (let n = 0; n < count; n++) seen.add((await lab.connect(client.netns, '10.96.0.1', 80)).split(' ')[0]!)
        return [...seen]
      }
      await set(sticky(near))
      assert.deepEqual(await answers(1), ['near'])
      await set(sticky(near, far))
      assert.deepEqual(await answers(12), ['near'])
      await set(sticky(far))
      assert.deepEqual(await answers(2), ['far'])
      await set(sticky(near, far))
      assert.deepEqual(await answers(12), ['far'])
      await set(web(near, far))
      assert.deepEqual([...problems], [])
    })

    test('What of a Service is not served is said', async () => {
      const external = {
        nodePort: 30080,
        externalIPs: [],
        loadBalancerIPs: [],
        sourceRanges: [],
        noLocalEndpoints: false,
      }
      const none = { policy: 'Cluster', endpoints: [], clusterEndpoints: [], layer: belowFromOutside } as const
      await set({ ...web(near), external: { ...external, ...none } })
      assert.match(
        JSON.stringify(problems.get('iptables a/web/http')),
        /LP404.*does not serve its addresses from outside/,
      )
      await set(web(near, far))
      assert.deepEqual([...problems], [])
    })

    test('Pods that stay in the kernel layer are members of a set, which comes and goes with them', async () => {
      const clients = async () => (await onNode('ipset', 'save')).match(/^add lightpath-clients.*$/gm)
      layer.setPolicies({ ...noPolicies, clients: [client.ip, client.ip6] })
      await layer.settled()
      assert.deepEqual(await clients(), [`add lightpath-clients4 ${client.ip}`, `add lightpath-clients6 ${client.ip6}`])
      layer.setPolicies({ ...noPolicies, clients: [] })
      await layer.settled()
      assert.equal(await clients(), null)
    })

    test('A change of one Service writes nothing of others', async () => {
      flushes.length = 0
      await set(web(near))
      await set(web(near, far))
      assert.deepEqual(
        flushes.map(({ ports }) => ports),
        [['a/web/http'], ['a/web/http']],
      )
      assert.ok(flushes.every(({ added, removed }) => added + removed <= 4))
    })

    test('A restart that finds all as it should be writes nothing of Services, and all works meanwhile', async () => {
      await layer.close()
      const before_ = await saved()
      flushes.length = 0
      layer = await run()
      assert.equal(await saved(), before_)
      assert.match(await lab.connect(client.netns, '10.96.0.1', 80), /^(near|far) /)
      layer.setServiceRanges(['10.96.0.0/16', '10.96.128.0/17', 'fd00:96::/112'])
      for (const state of all()) layer.setPort(state)
      layer.synced()
      await layer.settled()
      assert.deepEqual(flushes, [])
      assert.equal(await saved(), before_)
    })

    test('A restart takes away what went meanwhile, and brings what came', async () => {
      await layer.close()
      layer = await run()
      for (const state of all().slice(1)) layer.setPort(state)
      layer.setPort(portState('a/new/http', '10.96.0.9', at([near], 'ip', ':8080')))
      layer.synced()
      await layer.settled()
      assert.doesNotMatch(await onNode('iptables-save'), /10\.96\.0\.1\//)
      assert.match(await lab.connect(client.netns, '10.96.0.9', 80), /^near /)
      layer.removePort('a/new/http')
      await set(web(near, far))
      assert.doesNotMatch(await saved(), /10\.96\.0\.9/)
    })

    test('What somebody else flushed is there again with the next change', async () => {
      await onNode('iptables', '-t', 'nat', '-F')
      await set(web(near))
      assert.match(await lab.connect(client.netns, '10.96.0.1', 80), /^near /)
      assert.equal(await lab.ask(client.netns, 'ask', '10.96.0.2', '53', '40003'), `far ${client.ip}`)
      await set(web(near, far))
    })

    test('Without an agent for too long kube-proxy gets what it has, and the rest is served on; with one all is ours again', async () => {
      const start = async (abandonAfter: number) => {
        await layer.close()
        layer = await run({ abandonAfter })
        for (const state of [web(near), web6(near), portState('a/ours/http', '10.96.0.9', at([near], 'ip', ':8080'))]) {
          layer.setPort(state)
        }
        layer.synced()
        await layer.settled()
      }
      const answers = async (netns: string) => {
        const told = []
        for (const vip of ['10.96.0.1', 'fd00:96::1', '10.96.0.9']) {
          told.push((await lab.connect(netns, vip, 80)).split(' ')[0])
        }
        return told
      }
      await start(3000)
      await layer.close()
      // Behind those of our rules that come first.
      for (const chain of ['PREROUTING', 'OUTPUT']) {
        const to = (vip: string) => [
          '-t',
          'nat',
          '-I',
          chain,
          '2',
          '-d',
          vip,
          '-p',
          'tcp',
          '--dport',
          '80',
          '-j',
          'DNAT',
        ]
        await onNode('iptables', ...to('10.96.0.1'), '--to-destination', `${far.ip}:8080`)
        await onNode('ip6tables', ...to('fd00:96::1'), '--to-destination', `[${far.ip6}]:8080`)
      }
      assert.deepEqual(await answers(client.netns), ['near', 'near', 'near'])
      for (let tries = 0; /^add lightpath-beat/m.test(await onNode('ipset', 'save')); tries++) {
        assert.ok(tries < 100, 'the heartbeat does not end')
        await sleep(200)
      }
      for (const { netns } of [client, lab.node]) assert.deepEqual(await answers(netns), ['far', 'far', 'near'])
      await start(3000)
      assert.deepEqual(await answers(client.netns), ['near', 'near', 'near'])
    })

    test('cleanup leaves nothing, of ours alone', async () => {
      await layer.close()
      await onNode('iptables', '-A', 'FORWARD', '-s', '192.0.2.1', '-j', 'DROP')
      const removed = await cleanupIptables(new IptablesPrograms(prefix()))
      assert.equal(removed.length, 3)
      const left = await saved()
      assert.doesNotMatch(left, /lightpath|LP-/i)
      assert.match(left, /-A FORWARD -s 192\.0\.2\.1\/32 -j DROP/)
      assert.deepEqual(await cleanupIptables(new IptablesPrograms(prefix())), [])
    })

    test('the text of all rules is what the agent writes, once its programs have loaded it', async () => {
      const rules = async () =>
        (await saved())
          .split('\n')
          .filter(line => !line.startsWith('add lightpath-beat'))
          .sort()
      layer = await run()
      for (const state of all()) layer.setPort(state)
      layer.synced()
      await layer.settled()
      const written = await rules()
      await layer.close()
      await cleanupIptables(new IptablesPrograms(prefix()))
      for (const [, program, input] of renderRules(all(), lab.options).matchAll(/^# (.*)\n((?:[^#].*\n)*)/gm)) {
        await runCommand(program!.split(' '), { prefix: prefix(), input: input! })
      }
      assert.deepEqual(await rules(), written)
    })
  })

test('cleanup has nothing to do where the kernel has no ipset', { skip }, async () => {
  const programs = mkdtempSync(join(tmpdir(), 'lightpath-iptables-'))
  try {
    const messages = [
      'ipset v7.17: Cannot open session to kernel.',
      'ipset v6.23: Kernel error received: Invalid argument',
    ]
    for (const message of messages) {
      for (const name of ['iptables-save', 'ip6tables-save']) {
        writeFileSync(join(programs, name), '#!/bin/sh\n', { mode: 0o755 })
      }
      writeFileSync(join(programs, 'ipset'), `#!/bin/sh\necho '${message}' >&2\nexit 1\n`, { mode: 0o755 })
      const prefix = ['env', `PATH=${programs}:${process.env.PATH}`]
      assert.deepEqual(await cleanupIptables(new IptablesPrograms(prefix)), [])
    }
  } finally {
    rmSync(programs, { recursive: true, force: true })
  }
})
