import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, beforeEach, describe, test } from 'node:test'
import { adminSocket } from '../../../../src/envoy/program/sockets.ts'
import type { RunningPod } from '../../../../src/lab/pods.ts'
import type { Child } from '../../../../src/lab/processes.ts'
import { pause } from '../../../../src/lab/wait.ts'
import { serviceWith } from '../../manifests.ts'
import { AgentLab, skip } from '../lab.ts'

const vips = ['10.96.0.10', 'fd00:96::10']
const url = 'http://10.96.0.10/'
/** The whole overlay. */
const all = ['10.96.0.10 . 80', 'fd00:96::10 . 80']

describe('when the agent, Envoy or both die', { skip }, () => {
  let lab: AgentLab
  let client: RunningPod
  let web: readonly RunningPod[]

  before(async () => {
    lab = await AgentLab.build()
    ;[client, ...web] = (await lab.pods(['client', 'web-1', 'web-2'], 10)) as [RunningPod, ...RunningPod[]]
    lab.write('web', serviceWith({ name: 'web', vips }, web))
    await lab.start()
    await lab.untilServedBy('envoy', client, url)
    await untilAllInOverlay()
  })

  after(() => lab?.destroy())
  beforeEach(() => lab.start())

  /** The families get there one after the other. */
  const untilAllInOverlay = () => lab.until('all in the overlay', async () => `${await lab.overlay()}` === `${all}`)

  /** Steady new and kept connections to the Service. */
  async function startLoads() {
    const kept = await lab.load(client, { url, connections: 20, rate: 400 })
    const fresh = await lab.load(client, { url, connections: 10, rate: 100, fresh: true })
    return {
      async stop() {
        return { kept: await kept.stop(), fresh: await fresh.stop() }
      },
    }
  }

  test('killing the agent under 500 requests/s loses no request, and its return writes nothing to nftables', async () => {
    const monitor = await Monitor.start(lab)
    const load = await startLoads()
    await pause(500)
    await lab.agent.down('SIGKILL')
    await pause(1000)
    assert.deepEqual(await lab.overlay(), all)
    await lab.agent.up()
    await lab.until('a settled agent', async () => {
      return (await lab.explain('default/web'))?.envoyPorts['default/web/http']?.resources.every(isAcknowledged)
    })
    await pause(500)
    const { kept, fresh } = await load.stop()
    assert.deepEqual([kept.errors, fresh.errors], [{}, {}])
    assert.deepEqual([Object.keys(kept.layers), Object.keys(fresh.layers)], [['envoy'], ['envoy']])
    assert.deepEqual(await monitor.stop(), [])
  })

  test('what was changed in the manifests while the agent was dead is in effect after its return', async () => {
    lab.write('gone', serviceWith({ name: 'gone', vips: ['10.96.0.12'] }, web))
    await lab.untilServedBy('envoy', client, 'http://10.96.0.12/')
    await lab.agent.down('SIGKILL')
    lab.write('web', serviceWith({ name: 'web', vips }, [web[1]!]))
    lab.write('other', serviceWith({ name: 'other', vips: ['10.96.0.11'] }, web))
    lab.remove('gone')
    const load = await startLoads()
    await lab.agent.up()
    await lab.untilServedBy('envoy', client, 'http://10.96.0.11/')
    await lab.until('one endpoint', async () => {
      const answers = await Promise.all(Array.from({ length: 6 }, () => lab.ask(client, url)))
      return answers.every(answer => answer === 'web-2 by envoy')
    })
    assert.match(await lab.ask(client, 'http://10.96.0.12/'), /^curl /)
    const overlay = [all[0], '10.96.0.11 . 80', all[1]].join()
    await lab.until(`${overlay} in the overlay`, async () => (await lab.overlay()).join() === overlay)
    const { kept, fresh } = await load.stop()
    assert.deepEqual([kept.errors, fresh.errors], [{}, {}])
    assert.deepEqual([Object.keys(kept.layers), Object.keys(fresh.layers)], [['envoy'], ['envoy']])
    lab.remove('other')
    lab.write('web', serviceWith({ name: 'web', vips }, web))
    await untilAllInOverlay()
  })

  for (const [how, stop, go] of [
    ['stopped', () => lab.agent.kill('SIGSTOP'), () => lab.agent.kill('SIGCONT')],
    ['dead', () => lab.agent.down('SIGKILL'), () => lab.agent.up()],
  ] as const) {
    test(`Envoy killed with the agent ${how}: the very next connection is served by the kernel layer`, async () => {
      await lab.untilServedBy('envoy', client, url)
      await stop()
      await lab.envoy.down('SIGKILL')
      assert.match(await lab.ask(client, url), /^web-\d by kernel$/)
      assert.match(await lab.ask(client, 'http://[fd00:96::10]/'), /^web-\d by kernel$/)
      // An Envoy that has been told nothing yet takes nothing.
      const load = await lab.load(client, { url, connections: 10, rate: 200, fresh: true })
      await lab.envoy.up()
      const { path: admin } = adminSocket({ directory: lab.envoySockets }, 1)
      const ready = ['--silent', '--unix-socket', admin, 'http://envoy/ready']
      await lab.until('Envoy', async () => (await lab.on('curl', ready)).code === 0)
      await pause(1000)
      assert.match(await lab.ask(client, url), /^web-\d by kernel$/)
      await go()
      await lab.untilServedBy('envoy', client, url)
      const { errors, layers } = await load.stop()
      assert.deepEqual(errors, {})
      assert.deepEqual(Object.keys(layers), ['envoy', 'kernel'])
    })
  }

  test('Envoy killed with the agent alive: the overlay is emptied, and filled again when Envoy is back', async () => {
    await lab.untilServedBy('envoy', client, url)
    await lab.envoy.down('SIGKILL')
    assert.match(await lab.ask(client, url), /^web-\d by kernel$/)
    await lab.until('an empty overlay', async () => (await lab.overlay()).length === 0)
    await lab.untilMetric('lightpath_envoy_up', 0)
    const load = await lab.load(client, { url, connections: 10, rate: 200, fresh: true })
    await lab.envoy.up()
    await lab.untilServedBy('envoy', client, url)
    assert.deepEqual((await load.stop()).errors, {})
    await untilAllInOverlay()
  })

  test('an Envoy that hangs is left out after two missed canary requests, and taken in again when it goes on', async () => {
    lab.envoy.kill('SIGSTOP')
    await lab.until('an empty overlay', async () => (await lab.overlay()).length === 0)
    assert.match(await lab.ask(client, url), /^web-\d by kernel$/)
    lab.envoy.kill('SIGCONT')
    await lab.untilServedBy('envoy', client, url)
    await untilAllInOverlay()
  })
})

function isAcknowledged({ status }: { status: string }): boolean {
  return status === 'acknowledged'
}

/** What happens to the node's nftables. */
class Monitor {
  readonly #lab: AgentLab
  readonly #child: Child
  readonly #log: string

  static async start(lab: AgentLab): Promise<Monitor> {
    const log = `${lab.network.directory}/monitor.log`
    const child = await lab.network.processes.spawnIn(lab.node.netns, 'nft', ['monitor'], { logFile: log })
    const monitor = new Monitor(lab, child, log)
    await monitor.#sees('before')
    return monitor
  }

  private constructor(lab: AgentLab, child: Child, log: string) {
    this.#lab = lab
    this.#child = child
    this.#log = log
  }

  /** All changes but its own, the heartbeat, and those of the test of the path to Envoy, which has a table of its own. */
  async stop(): Promise<readonly string[]> {
    await this.#sees('after')
    await this.#child.stop()
    return this.#lines().filter(line => !/^#|^$| ip (before|after)$| ip6? lightpath(-path| heartbeat)/.test(line))
  }

  /** Waits until it sees a change, and so all that were before. */
  async #sees(name: string): Promise<void> {
    await this.#lab.until('nft monitor at work', async () => {
      await this.#lab.nft('add', 'table', 'ip', name)
      await this.#lab.nft('delete', 'table', 'ip', name)
      return this.#lines().includes(`delete table ip ${name}`)
    })
  }

  #lines(): string[] {
    return readFileSync(this.#log, 'utf8').split('\n')
  }
}
