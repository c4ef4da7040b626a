/** Nodes as they are in the field: each serves through Envoy, or stays in the kernel layer and says why, and never hangs. */

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { after, afterEach, before, describe, test } from 'node:test'
import { netnsPath } from '../../../src/lab/leftovers.ts'
import type { RunningPod } from '../../../src/lab/pods.ts'
import { runIn } from '../../../src/lab/processes.ts'
import type { Supervised } from '../../../src/lab/supervisor.ts'
import { AgentLab, skip as needsRoot } from '../agent/lab.ts'
import { serviceWith } from '../manifests.ts'
import { bridgedSetups } from './bridged.ts'
import { routedSetups } from './routed.ts'
import type { Setup } from './setup.ts'

const skip = needsRoot || (!existsSync('/usr/sbin/iptables') && 'needs iptables')

const flags = ['--families', 'ipv4', '--client-address', 'auto', '--cluster-cidr', '10.244.0.0/16']
const urls = ['http://10.96.9.1/', 'http://10.96.9.2/']

class SetupLab {
  readonly lab: AgentLab
  readonly pods: readonly RunningPod[]
  #agent: Supervised | undefined

  private constructor(lab: AgentLab, pods: readonly RunningPod[]) {
    this.lab = lab
    this.pods = pods
  }

  static async build(): Promise<SetupLab> {
    const lab = await AgentLab.build({
      nodes: 2,
      flags,
      bootstrapFlags: ['--client-address', 'auto'],
    })
    const [first, second, far] = await Promise.all([lab.pod('first', 10), lab.pod('second', 11), lab.pod('far', 11, 2)])
    lab.write('near', serviceWith({ name: 'near', vips: ['10.96.9.1'] }, [second!]))
    lab.write('far', serviceWith({ name: 'far', vips: ['10.96.9.2'] }, [far!]))
    await lab.envoy.up()
    return new SetupLab(lab, [first!, second!])
  }

  async on(script: string, netns = this.lab.node.netns): Promise<void> {
    const { code, stderr } = await runIn(netns, 'sh', ['-e'], { input: script })
    assert.equal(code, 0, stderr)
  }

  async serves({ outcome, clientAddress, problem, flags }: Setup): Promise<void> {
    const { lab } = this
    this.#agent = flags ? lab.agentWith({ flags }) : lab.agent
    await this.#agent.up()
    await lab.untilEnvoyIsUp()
    const layer = outcome === 'envoy' ? 'envoy' : 'kernel'
    if (outcome !== 'envoy') assert.match(await lab.untilLogged(/LP402.*"problem"/), outcome)
    for (const url of urls) await lab.untilServedBy(layer, this.pods[0]!, url)
    if (clientAddress) {
      let why = ''
      await lab
        .until(`${clientAddress}`, async () => {
          why = (await lab.explain('default/near'))?.clientAddress.why ?? ''
          return clientAddress.test(why)
        })
        .catch(error => assert.fail(`${why}; ${(error as Error).message}`))
    }
    if (problem) await lab.untilLogged(problem)
    for (const from of [...this.pods, lab.node]) {
      for (const url of [...urls, ...urls]) {
        assert.match(
          await lab.ask(from, url, '--max-time', '5'),
          new RegExp(`^(second|far) by ${layer}$`),
          `${from.netns} ${url}`,
        )
      }
    }
  }

  /** As the node was. */
  async restore({ undo = 'true' }: Pick<Setup, 'undo'>): Promise<void> {
    await this.#agent?.down()
    await this.lab.lightpath('cleanup')
    await runIn(this.lab.node.netns, 'sh', [], {
      input: `nft flush ruleset
ip rule add priority 0 lookup local
ip rule flush
ip rule add priority 32766 lookup main
ip rule add priority 32767 lookup default
for table in 2 11 101; do ip route flush table $table; done
ip address flush dev eth1
${undo}
`,
    })
    this.lab.forgetLog()
  }
}

describe('a node with a routed pod network has', { skip }, () => {
  let setups: SetupLab
  let current: Setup | undefined

  before(async () => {
    setups = await SetupLab.build()
    // The second network card, by which the fabric reaches the second pod while it has its address.
    const { fabric } = setups.lab.network
    const { netns } = setups.lab.node
    await setups.on(
      `ip link add node1b type veth peer name eth1 netns ${netns}\nip link set node1b master fabric up\n`,
      fabric,
    )
  })
  after(() => setups?.lab.destroy())
  afterEach(() => setups.restore(current ?? {}))

  for (const setup of routedSetups) {
    test(setup.name, async () => {
      current = setup
      await setups.on(setup.script)
      await setups.serves(setup)
    })
  }
})

for (const setup of bridgedSetups) {
  describe('a node whose pods share a network has', { skip }, () => {
    let setups: SetupLab

    before(async () => {
      setups = await SetupLab.build()
      const { lab, pods } = setups
      // Antrea's switch is none that the node sees: a bridge behind the gateway's link. It has what pods answer to the
      // gateway come back there, as a bridge does whose ports see the gateway alone.
      const isHidden = setup.bridge === 'antrea-gw0'
      const hidden = `${lab.network.name}-switch`
      const links = pods.map(({ hostLink }) => hostLink)
      await setups.on(
        isHidden
          ? `ip netns add ${hidden}
ip link add antrea-gw0 type veth peer name gw netns ${hidden}
${links.map(link => `ip link set ${link} netns ${hidden}`).join('\n')}
nsenter --net=${netnsPath(hidden)} sh -e <<'END'
ip link add name switch type bridge
ip link set switch up
${['gw', ...links].map(link => `ip link set ${link} master switch up`).join('\n')}
${links.map(link => `bridge link set dev ${link} isolated on`).join('\n')}
END
`
          : `ip link add ${setup.bridge} address ee:ee:ee:ee:ee:ee type bridge
${links.map(link => `ip link set ${link} master ${setup.bridge}`).join('\n')}
${pods.map(({ ip }) => `ip route del ${ip}/32`).join('\n')}
sysctl -qw net.bridge.bridge-nf-call-iptables=1
`,
      )
      await setups.on(`ip route del blackhole 10.244.1.0/24
ip address add 10.244.1.1/24 dev ${setup.bridge}
ip link set ${setup.bridge} up
`)
      for (const { netns, ip } of pods) {
        await setups.on(
          `ip address flush dev eth0
ip address add ${ip}/24 dev eth0
ip route add default via 10.244.1.1
`,
          netns,
        )
      }
    })
    after(async () => {
      await setups?.restore({})
      await setups?.lab.destroy()
    })

    test(setup.name, async () => {
      await setups.on(setup.script)
      await setups.serves(setup)
    })
  })
}
