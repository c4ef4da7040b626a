/** What the agent reports to owners of where Envoy does otherwise than kube-proxy, or would. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { RunningPod } from '../../../src/lab/pods.ts'
import { runIn } from '../../../src/lab/processes.ts'
import { type PortOptions, type ServiceOptions, serviceWith } from '../manifests.ts'
import { AgentLab, skip } from './lab.ts'

/** Writes a greeting to each connection, as mail servers do, and then what comes. */
const greeter = `require('net').createServer(s => { s.on('error', () => {}); s.write('220 mail ESMTP\\n'); s.pipe(s) }).listen(25)`
const smtp: PortOptions = { name: 'http', port: 25, targetPort: 25 }
const mail: ServiceOptions = { name: 'mail', vips: ['10.96.5.1'], ports: [smtp] }

describe('what works otherwise than behind kube-proxy', { skip }, () => {
  let lab: AgentLab
  let client: RunningPod
  let server: RunningPod

  before(async () => {
    lab = await AgentLab.build()
    ;[client, server] = (await lab.pods(['client', 'server'], 10)) as [RunningPod, RunningPod]
    await lab.network.processes.spawnIn(server.netns, process.execPath, ['-e', greeter])
    lab.write('mail', serviceWith(mail, [server]))
    await lab.start()
  })

  after(() => lab?.destroy())

  /** The first line that the client gets without saying anything. */
  const greeting = async () => {
    const script = 'exec 3<>/dev/tcp/10.96.5.1/25; read -rt 10 line <&3; echo "$line"'
    return (await runIn(client.netns, 'bash', ['-c', script])).stdout.trim()
  }
  const isInOverlay = async () => (await lab.overlay()).includes('10.96.5.1 . 25')

  test('a port named http whose server speaks first goes to the kernel layer, and its owner hears why', async () => {
    await lab.until('the port in Envoy', isInOverlay)
    assert.equal(await greeting(), '220 mail ESMTP')
    await lab.until('the port in the kernel layer', async () => !(await isInOverlay()))
    assert.match(await lab.untilLogged(/LP206.*"problem"/), /Service default\/mail.*speaks first.*protocol: tcp/)
    assert.match(await lab.untilLogged(/EnvoyDisabled/), /default\/mail.*speaks first/)
    assert.equal(await greeting(), '220 mail ESMTP')
  })

  test('it stays there over restarts of agent and Envoy, and comes back when its owner changes it', async () => {
    await lab.agent.down()
    await lab.envoy.down()
    lab.forgetLog()
    await lab.start()
    await lab.untilLogged(/LP206.*"problem"/)
    assert.equal(await isInOverlay(), false)
    lab.write('mail', serviceWith({ ...mail, settings: { overlay: 'true' } }, [server]))
    await lab.until('the port in Envoy again', isInOverlay)
    await lab.untilLogged(/LP206.*"problem is over"/)
  })

  test('an owner whose clients speak TLS to a port named http hears of it, and it stays in Envoy', async () => {
    lab.write(
      'secure',
      serviceWith({ name: 'secure', vips: ['10.96.5.2'], ports: [{ ...smtp, port: 443, targetPort: 7 }] }, [server]),
    )
    await lab.until('the port in Envoy', async () => (await lab.overlay()).includes('10.96.5.2 . 443'))
    const hello = `printf '\\x16\\x03\\x01\\x02' | timeout 2 bash -c 'exec 3<>/dev/tcp/10.96.5.2/443; cat >&3'`
    for (let i = 0; i < 4; i++) await runIn(client.netns, 'bash', ['-c', hello])
    assert.match(await lab.untilLogged(/LP206.*default\/secure.*"problem"/), /all that its clients speak is TLS/)
    assert.ok((await lab.overlay()).includes('10.96.5.2 . 443'))
  })
})
