/** What the agent reports to owners of where Envoy does otherwise than kube-proxy, or would. */

import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RunningPod } from '../../../../src/lab/pods.ts'
import { runIn } from '../../../../src/lab/processes.ts'
import { type PortOptions, type ServiceOptions, serviceWith } from '../../manifests.ts'
import { AgentLab, skip } from '../lab.ts'

/** Writes a greeting to each connection, as mail servers do, and then what comes. */
const greeter = `require('net').createServer(s => { s.on('error', () => {}); s.write('220 mail ESMTP\\n'); s.pipe(s) }).listen(25)`
/** Answers with two lengths. */
const twoLengths = `require('net').createServer(s => { s.on('error', () => {}); s.on('data', () => s.end('HTTP/1.1 200 OK\\r\\nContent-Length: 1\\r\\nContent-Length: 1\\r\\n\\r\\nx')) }).listen(26)`
/** Sends half a request and the FIN in one packet, and prints what comes. */
const halfAndFin = `
import socket
s = socket.create_connection(('10.96.5.3', 80))
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
s.sendall(b'POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 9\\r\\n\\r\\nhalf')
s.shutdown(socket.SHUT_WR)
print(s.recv(1000).decode(), end='')
`
const broken: PortOptions = { name: 'http', port: 80, targetPort: 26 }
const smtp: PortOptions = { name: 'http', port: 25, targetPort: 25 }
const mail: ServiceOptions = { name: 'mail', vips: ['10.96.5.1'], ports: [smtp] }

describe('what works otherwise than behind kube-proxy', { skip }, () => {
  let lab: AgentLab
  let client: RunningPod
  let server: RunningPod

  before(async () => {
    lab = await AgentLab.build()
    ;[client, server] = (await lab.pods(['client', 'server'], 10)) as [RunningPod, RunningPod]
    for (const program of [greeter, twoLengths])
      await lab.network.processes.spawnIn(server.netns, process.execPath, ['-e', program])
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
    await lab.untilLogged(/default\/mail.*EnvoyDisabled.*speaks first/)
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
    // Of those of one second each of Envoy's workers reports two, and one of them may have all.
    for (let i = 0; i < 4; i++) {
      await runIn(client.netns, 'bash', ['-c', hello])
      await sleep(500)
    }
    assert.match(await lab.untilLogged(/LP206.*default\/secure.*"problem"/), /all that its clients speak is TLS/)
    assert.ok((await lab.overlay()).includes('10.96.5.2 . 443'))
  })

  test('requests of which no endpoint had anything, and answers that Envoy refuses, are counted and reported', async () => {
    lab.write('broken', serviceWith({ name: 'broken', vips: ['10.96.5.3'], ports: [broken] }, [server]))
    await lab.until('the port in Envoy', async () => (await lab.overlay()).includes('10.96.5.3 . 80'))
    for (let i = 0; i < 3; i++) {
      assert.match((await runIn(client.netns, 'curl', ['-sS', '-i', 'http://10.96.5.3/'])).stdout, /^HTTP\S+ 502/)
      assert.equal((await runIn(client.netns, 'python3', ['-c', halfAndFin])).stdout, '')
    }
    for (const [code, reason] of [
      ['LP308', 'client-ended'],
      ['LP309', 'answer-refused'],
    ] as const) {
      assert.match(await lab.untilLogged(new RegExp(`${code}.*default/broken.*"problem"`)), /overlay: false/)
      const lost = `lightpath_lost_requests_total{service_port="default/broken/http",reason="${reason}"}`
      await lab.untilMetric(lost, 3)
    }
    lab.remove('broken')
    for (const code of ['LP308', 'LP309'])
      await lab.untilLogged(new RegExp(`${code}.*default/broken.*"problem is over"`))
  })

  test('what is remembered is gone with lightpath cleanup', async () => {
    lab.write('mail', serviceWith({ ...mail, ports: [{ ...smtp, name: 'http-mail' }] }, [server]))
    // Before, the address may still be that of the port under its old name.
    await lab.untilLogged(/EnvoyEnabled.*Port http-mail promoted/)
    await lab.until('the port in Envoy', isInOverlay)
    await greeting()
    await lab.untilLogged(/LP206.*port http-mail.*"problem"/)
    await lab.agent.down()
    await lab.envoy.down()
    // As an agent leaves it that dies while it writes.
    writeFileSync(join(lab.envoySockets, 'misnamed-ports.json.new'), '')
    const { stdout } = await lab.lightpath('cleanup', '--socket', lab.socket, '--envoy-sockets', lab.envoySockets)
    for (const file of ['misnamed-ports.json', 'misnamed-ports.json.new'])
      assert.ok(stdout.includes(`removed ${join(lab.envoySockets, file)}\n`), stdout)
  })
})
