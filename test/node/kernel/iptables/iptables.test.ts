/** The kernel layer by iptables and ipset, with real traffic. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { cleanupIptables } from '../../../../src/kernel/iptables/install.ts'
import { IptablesPrograms } from '../../../../src/kernel/iptables/programs.ts'
import { renderRules } from '../../../../src/kernel/iptables/render.ts'
import { noPolicies } from '../../../../src/kernel/nodeconfig.ts'
import { runCommand } from '../../../../src/kernel/system/command.ts'
import { belowFromOutside, portState } from '../../../../src/kernel/testing/states.ts'
import type { Pod } from '../../../../src/lab/network.ts'
import { at, dns, IptablesLab, skip, web, web6 } from './lab.ts'

for (const variant of ['nft', 'legacy'] as const)
  describe(`The kernel layer by iptables (${variant})`, { skip }, () => {
    let lab: IptablesLab
    before(async () => {
      lab = await IptablesLab.build(variant)
    })
    after(() => lab?.destroy())

    test('iptables and ipset accept all of it', () => assert.deepEqual([...lab.problems], []))

    for (const [family, vip] of [
      ['IPv4', '10.96.0.1'],
      ['IPv6', 'fd00:96::1'],
    ] as const) {
      const isIPv4 = family === 'IPv4'
      const with_ = (...pods: Pod[]) => (isIPv4 ? web(...pods) : web6(...pods))

      test(`TCP over ${family} comes out at every endpoint, and the client keeps its address`, async () => {
        const seen = new Set<string>()
        for (let n = 0; n < 30 && seen.size < 2; n++) seen.add(await lab.kernel.connect(lab.client.netns, vip, 80))
        const address = isIPv4 ? lab.client.ip : lab.client.ip6
        assert.deepEqual([...seen].toSorted(), [`far ${address}`, `near ${address}`])
      })

      test(`A process of the node reaches a Service over ${family}`, async () => {
        assert.match(await lab.kernel.connect(lab.kernel.node.netns, vip, 80), /^(near|far) /)
      })

      test(`UDP over ${family} is answered`, async () => {
        const [ip, address] = isIPv4 ? ['10.96.0.2', lab.client.ip] : ['fd00:96::2', lab.client.ip6]
        assert.equal(await lab.kernel.ask(lab.client.netns, 'ask', ip, '53', '40000'), `far ${address}`)
      })

      test(`A pod reaches itself through its own Service over ${family}`, async () => {
        await lab.set(with_(lab.near))
        assert.match(await lab.kernel.connect(lab.near.netns, vip, 80), /^near /)
        await lab.set(with_(lab.near, lab.far))
      })

      test(`A Service without endpoints refuses at once over ${family}, pods and the node's own processes`, async () => {
        await lab.set(with_())
        assert.equal(await lab.kernel.connect(lab.client.netns, vip, 80), 'ECONNREFUSED')
        assert.equal(await lab.kernel.connect(lab.kernel.node.netns, vip, 80), 'ECONNREFUSED')
        await lab.set(with_(lab.near, lab.far))
        assert.match(await lab.kernel.connect(lab.client.netns, vip, 80), /^(near|far) /)
      })
    }

    for (const vip of ['10.96.0.1', 'fd00:96::1']) {
      test(`A port that the Service of ${vip} does not have is refused at once, to pods and the node's own processes`, async () => {
        for (const { netns } of [lab.client, lab.kernel.node])
          assert.equal(await lab.kernel.connect(netns, vip, 8443), 'ECONNREFUSED')
        assert.equal(await lab.kernel.ask(lab.client.netns, 'ask', vip, '8443', '40010'), 'ECONNREFUSED')
        assert.match(await lab.kernel.connect(lab.client.netns, vip, 80), /^(near|far) /)
      })
    }

    test('An address of the Service range that no Service has is dropped, and Services in it work', async () => {
      lab.layer.setServiceRanges(['10.96.0.0/16', '10.96.128.0/17', 'fd00:96::/112'])
      await lab.layer.settled()
      assert.deepEqual([...lab.problems], [])
      assert.equal(await lab.kernel.connect(lab.client.netns, '10.96.77.7', 80), 'timeout')
      assert.equal(await lab.kernel.connect(lab.kernel.node.netns, 'fd00:96::7777', 80), 'timeout')
      for (const vip of ['10.96.0.1', 'fd00:96::1']) {
        assert.match(await lab.kernel.connect(lab.client.netns, vip, 80), /^(near|far) /)
        assert.equal(await lab.kernel.connect(lab.client.netns, vip, 8443), 'ECONNREFUSED')
      }
    })

    test('A Service whose endpoints are all elsewhere drops', async () => {
      await lab.set({ ...web(), noLocalEndpoints: true })
      assert.equal(await lab.kernel.connect(lab.client.netns, '10.96.0.1', 80), 'timeout')
      await lab.set(web(lab.near, lab.far))
    })

    test('A UDP client with a fixed port follows when its endpoint is gone', async () => {
      const ask = () => lab.kernel.ask(lab.client.netns, 'ask', '10.96.0.2', '53', '40001')
      assert.equal(await ask(), `far ${lab.client.ip}`)
      await lab.set(dns(lab.near))
      assert.equal(await ask(), `near ${lab.client.ip}`)
      await lab.set(dns())
      assert.equal(await ask(), 'ECONNREFUSED')
      await lab.set(dns(lab.far))
      assert.equal(await ask(), `far ${lab.client.ip}`)
    })

    test('A client stays with its endpoint where the Service asks for it, also when others come, until it is gone', async () => {
      const sticky = (...pods: Pod[]) => ({ ...web(...pods), affinitySeconds: 600 })
      const answers = async (count: number) => {
        const seen = new Set<string>()
        for (let n = 0; n < count; n++)
          seen.add((await lab.kernel.connect(lab.client.netns, '10.96.0.1', 80)).split(' ')[0]!)
        return [...seen]
      }
      await lab.set(sticky(lab.near))
      assert.deepEqual(await answers(1), ['near'])
      await lab.set(sticky(lab.near, lab.far))
      assert.deepEqual(await answers(12), ['near'])
      await lab.set(sticky(lab.far))
      assert.deepEqual(await answers(2), ['far'])
      await lab.set(sticky(lab.near, lab.far))
      assert.deepEqual(await answers(12), ['far'])
      await lab.set(web(lab.near, lab.far))
      assert.deepEqual([...lab.problems], [])
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
      await lab.set({ ...web(lab.near), external: { ...external, ...none } })
      assert.match(
        JSON.stringify(lab.problems.get('iptables a/web/http')),
        /LP404.*does not serve its addresses from outside/,
      )
      await lab.set(web(lab.near, lab.far))
      assert.deepEqual([...lab.problems], [])
    })

    test('Pods that stay in the kernel layer are members of a set, which comes and goes with them', async () => {
      const clients = async () => (await lab.onNode('ipset', 'save')).match(/^add lightpath-clients.*$/gm)
      lab.layer.setPolicies({ ...noPolicies, clients: [lab.client.ip, lab.client.ip6] })
      await lab.layer.settled()
      assert.deepEqual(await clients(), [
        `add lightpath-clients4 ${lab.client.ip}`,
        `add lightpath-clients6 ${lab.client.ip6}`,
      ])
      lab.layer.setPolicies({ ...noPolicies, clients: [] })
      await lab.layer.settled()
      assert.equal(await clients(), null)
    })

    test("A first packet that Envoy has not answered is Envoy's when it is repeated, also when its Service has left the overlay", async () => {
      const envoy = await lab.kernel.spawn(lab.kernel.node.netns, ['transparent', '1667', '1'])
      const vips = ['10.96.0.1', 'fd00:96::1']
      const overlay = vips.map(ip => ({ ip, port: 80, isShared: true }))
      lab.layer.setOverlay(overlay, true)
      await lab.layer.settled()
      for (const vip of vips) {
        const answers = await lab.kernel.connectUnanswered(lab.client.netns, vip, envoy)
        lab.layer.setOverlay(overlay, false)
        await lab.layer.settled()
        envoy.kill('SIGCONT')
        for (const answer of answers) assert.match(await answer, /^envoy /)
        lab.layer.setOverlay(overlay, true)
        await lab.layer.settled()
      }
      lab.layer.setOverlay(overlay, false)
      await lab.layer.settled()
      await envoy.stop()
    })

    test('A change of one Service writes nothing of others', async () => {
      lab.flushes.length = 0
      await lab.set(web(lab.near))
      await lab.set(web(lab.near, lab.far))
      assert.deepEqual(
        lab.flushes.map(({ ports }) => ports),
        [['a/web/http'], ['a/web/http']],
      )
      assert.ok(lab.flushes.every(({ added, removed }) => added + removed <= 4))
    })

    test('A restart that finds all as it should be writes nothing of Services, and all works meanwhile', async () => {
      await lab.layer.close()
      const before_ = await lab.saved()
      lab.flushes.length = 0
      await lab.run()
      assert.equal(await lab.saved(), before_)
      assert.match(await lab.kernel.connect(lab.client.netns, '10.96.0.1', 80), /^(near|far) /)
      lab.layer.setServiceRanges(['10.96.0.0/16', '10.96.128.0/17', 'fd00:96::/112'])
      await lab.synced(lab.all())
      assert.deepEqual(lab.flushes, [])
      assert.equal(await lab.saved(), before_)
    })

    test('A restart takes away what went meanwhile, and brings what came', async () => {
      await lab.layer.close()
      await lab.run()
      await lab.synced([...lab.all().slice(1), portState('a/new/http', '10.96.0.9', at([lab.near], 'ip', ':8080'))])
      assert.doesNotMatch(await lab.onNode('iptables-save'), /10\.96\.0\.1\//)
      assert.match(await lab.kernel.connect(lab.client.netns, '10.96.0.9', 80), /^near /)
      lab.layer.removePort('a/new/http')
      await lab.set(web(lab.near, lab.far))
      assert.doesNotMatch(await lab.saved(), /10\.96\.0\.9/)
    })

    test('What somebody else flushed is there again with the next change', async () => {
      await lab.onNode('iptables', '-t', 'nat', '-F')
      await lab.set(web(lab.near))
      assert.match(await lab.kernel.connect(lab.client.netns, '10.96.0.1', 80), /^near /)
      assert.equal(await lab.kernel.ask(lab.client.netns, 'ask', '10.96.0.2', '53', '40003'), `far ${lab.client.ip}`)
      await lab.set(web(lab.near, lab.far))
    })

    test('Without an agent for too long kube-proxy gets what it has, and the rest is served on; with one all is ours again', async () => {
      // Longer than a busy machine takes to ask before.
      const abandonAfter = 8000
      const start = async () => {
        await lab.layer.close()
        await lab.run({ abandonAfter })
        const ours = portState('a/ours/http', '10.96.0.9', at([lab.near], 'ip', ':8080'))
        await lab.synced([web(lab.near), web6(lab.near), ours])
      }
      const answers = async (netns: string) => {
        const told = []
        for (const vip of ['10.96.0.1', 'fd00:96::1', '10.96.0.9']) {
          told.push((await lab.kernel.connect(netns, vip, 80)).split(' ')[0])
        }
        return told
      }
      await start()
      await lab.layer.close()
      // Behind those of our rules that come first.
      for (const chain of ['PREROUTING', 'OUTPUT']) {
        const to = (vip: string) => `-t nat -I ${chain} 2 -d ${vip} -p tcp --dport 80 -j DNAT`.split(' ')
        await lab.onNode('iptables', ...to('10.96.0.1'), '--to-destination', `${lab.far.ip}:8080`)
        await lab.onNode('ip6tables', ...to('fd00:96::1'), '--to-destination', `[${lab.far.ip6}]:8080`)
      }
      assert.deepEqual(await answers(lab.client.netns), ['near', 'near', 'near'])
      for (let tries = 0; /^add lightpath-beat/m.test(await lab.onNode('ipset', 'save')); tries++) {
        assert.ok(tries < 100, 'the heartbeat does not end')
        await sleep(200)
      }
      for (const { netns } of [lab.client, lab.kernel.node])
        assert.deepEqual(await answers(netns), ['far', 'far', 'near'])
      await start()
      assert.deepEqual(await answers(lab.client.netns), ['near', 'near', 'near'])
    })

    test('cleanup leaves nothing, of ours alone', async () => {
      await lab.layer.close()
      await lab.onNode('iptables', '-A', 'FORWARD', '-s', '192.0.2.1', '-j', 'DROP')
      const removed = await cleanupIptables(new IptablesPrograms(lab.prefix))
      assert.equal(removed.length, 3)
      const left = await lab.saved()
      assert.doesNotMatch(left, /lightpath|LP-/i)
      assert.match(left, /-A FORWARD -s 192\.0\.2\.1\/32 -j DROP/)
      assert.deepEqual(await cleanupIptables(new IptablesPrograms(lab.prefix)), [])
    })

    test('the text of all rules is what the agent writes, once its programs have loaded it', async () => {
      const rules = async () =>
        (await lab.saved())
          .split('\n')
          .filter(line => !line.startsWith('add lightpath-beat'))
          .sort()
      await lab.run()
      await lab.synced(lab.all())
      const written = await rules()
      await lab.layer.close()
      await cleanupIptables(new IptablesPrograms(lab.prefix))
      for (const [, program, input] of renderRules(lab.all(), lab.kernel.options, () => false).matchAll(
        /^# (.*)\n((?:[^#].*\n)*)/gm,
      )) {
        await runCommand(program!.split(' '), { prefix: lab.prefix, input: input! })
      }
      assert.deepEqual(await rules(), written)
    })
  })
