/**
 * Common clients get from common servers what they ask for, by the kernel layer and through Envoy; and what must not be repeated does not
 * fail for a connection that a server is just closing.
 */

import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Pod } from '../../../src/lab/network.ts'
import { run, runIn } from '../../../src/lab/processes.ts'
import { AgentLab, skip } from '../agent/lab.ts'
import { serviceWith } from '../manifests.ts'
import {
  type Client,
  clients,
  configuration,
  content,
  expected,
  idleTimes,
  isMissing,
  type Programs,
  type Server,
  servers,
  upload,
} from './matrix.ts'

const ways = ['kernel', 'envoy'] as const
type Way = (typeof ways)[number]

const setup = new URL('../../../tools/web-programs', import.meta.url).pathname

/** Servers that say so where they end a connection because they are asked to. */
const letConnectionsLive = ['Node', 'Go', 'nginx', 'Apache prefork', 'Tomcat']

/** How long Envoy may take, once it has acknowledged routes, to have changed them in all its workers. */
const settleMs = 2000

/** On a busy machine a server's queue is full for seconds, which is not what is looked at here. */
const patient = { 'upstream-connect-timeout': '30s' }

const nameAt = (vip: string) => `at-${vip.replaceAll('.', '-')}`
const idlePorts = Object.keys(idleTimes).map(Number)
/** By the kernel layer there is only this one. */
const ownIdleTime = 8080
const addressOf = (way: Way, server: number, port = ownIdleTime) =>
  `10.96.${way === 'kernel' ? 1 : 2 + idlePorts.indexOf(port)}.${server + 1}`

describe('common clients and servers', { skip }, () => {
  let lab: AgentLab
  let client: Pod
  let programs: Programs
  let uploaded: string

  before(async () => {
    const { stdout, stderr, code } = await run(setup, [], { timeoutMs: 600_000 })
    assert.equal(code, 0, stderr)
    lab = await AgentLab.build()
    const directory = stdout.trim()
    const files = join(lab.network.directory, 'web')
    mkdirSync(files, { mode: 0o777 })
    programs = { directory, content: files }
    for (const [name, text] of Object.entries({ ...content, ...configuration(programs) }))
      writeFileSync(join(files, name), text, { mode: 0o755 })
    uploaded = join(files, 'upload')
    writeFileSync(uploaded, upload)

    client = await lab.network.addPod('node1', 'client')
    const pods = await Promise.all(servers.map((_, index) => lab.network.addPod('node1', `server-${index}`)))
    const services = servers.flatMap((server, index) => {
      if (isMissing(server, programs)) return []
      const service = (vip: string, targetPort: number, settings: Readonly<Record<string, string>>) => {
        const ports = [{ name: 'http', port: 80, targetPort }]
        return serviceWith({ name: nameAt(vip), vips: [vip], ports, settings }, [pods[index]!])
      }
      return [
        service(addressOf('kernel', index), ownIdleTime, { overlay: 'false' }),
        ...idlePorts.map(port => service(addressOf('envoy', index, port), port, { ...patient, overlay: 'true' })),
      ].flat()
    })
    for (const [index, server] of servers.entries()) {
      if (isMissing(server, programs)) continue
      const [program, ...args] = server.command(programs)
      const logFile = join(lab.network.directory, `server-${index}.log`)
      await lab.network.processes.spawnIn(pods[index]!.netns, program, args, { logFile })
    }
    lab.write('services', services)
    await lab.start()
    const there = servers.filter(server => !isMissing(server, programs)).length
    await lab.until('all Services in Envoy', async () => (await lab.overlay()).length === there * idlePorts.length)
    for (const [index, server] of servers.entries()) {
      if (isMissing(server, programs)) continue
      const version = server.speaks === 'http2' ? '--http2-prior-knowledge' : '--http1.1'
      const url = `http://${pods[index]!.ip}:8080/hello`
      await lab.until(server.name, async () => (await runIn(client.netns, 'curl', ['-sf', version, url])).code === 0)
    }
  })

  after(() => lab?.destroy())

  const isServed = (server: Server, { speaks }: Pick<Client, 'speaks'>) =>
    server.speaks === speaks && !isMissing(server, programs)

  describe('get what they ask for', { concurrency: 2 }, () => {
    for (const row of clients)
      for (const way of ways)
        test(`${row.name}, ${way === 'kernel' ? 'by the kernel layer' : 'through Envoy'}`, async t => {
          if (isMissing(row, programs)) return t.skip('its compiler is not there')
          const asked = [...servers.entries()].filter(([, server]) => isServed(server, row))
          const names = new Map(asked.map(([index, { name }]) => [`http://${addressOf(way, index)}`, name]))
          const [program, ...args] = row.command(programs)
          const { stdout, stderr } = await runIn(client.netns, program, [...args, uploaded, ...names.keys()], {
            timeoutMs: 60_000,
          })
          const told = stdout.split('\n').flatMap(line => {
            const [url = '', operation, ...answer] = line.split(' ')
            return url === '' ? [] : [`${names.get(url)}: ${operation} ${answer.join(' ')}`]
          })
          const wanted = [...names.values()].flatMap(name =>
            row.operations.map(operation => `${name}: ${operation} ${expected[operation]}`),
          )
          assert.deepEqual(told.toSorted(), wanted.toSorted(), stderr)
        })
  })

  const race = (method: 'POST' | 'GET' | 'KEPT', idle: string, urls: readonly string[]) => {
    const program = new URL('programs/race.ts', import.meta.url).pathname
    return runIn(client.netns, process.execPath, [program, method, idle, ...urls], { timeoutMs: 120_000 })
  }

  const web = () => [...servers.entries()].filter(([, server]) => isServed(server, { speaks: 'http' }))
  const urlsOf = (port: number) => web().map(([index]) => `http://${addressOf('envoy', index, port)}`)
  const racePosts = async (method: 'POST' | 'KEPT') => {
    const told = await Promise.all(idlePorts.map(port => race(method, idleTimes[port] || '400', urlsOf(port))))
    for (const { code, stdout, stderr } of told) assert.deepEqual([code, stdout], [0, ''], stderr)
  }

  test('no POST fails for a connection that its server closes: 0 of 300 for each server and idle time', () =>
    racePosts('POST'))

  test('nor does one of a client that keeps its connection, once servers are known to let theirs live', async () => {
    const program = new URL('programs/seconds.ts', import.meta.url).pathname
    const lasting = web().filter(([, { name }]) => letConnectionsLive.includes(name))
    const urls = lasting.map(([index]) => `http://${addressOf('envoy', index)}`)
    const ending = lasting[0]![0]
    const args = [program, ...urls, `http://${addressOf('envoy', ending, 8500)}`]
    const asking = await lab.network.processes.spawnIn(client.netns, process.execPath, args)
    const connectionsOf = async (index: number, port: number) => {
      const name = `default/${nameAt(addressOf('envoy', index, port))}`
      return (await lab.explain(name))?.envoyPorts[`${name}/http`]?.connections
    }
    for (const [index, { name }] of lasting)
      await lab.until(name, async () => (await connectionsOf(index, ownIdleTime)) === 'lasting')
    // It ends idle connections after half a second, and may have begun to be watched later.
    await lab.until('the one that ends them', async () => (await connectionsOf(ending, 8500)) === 'fresh')
    await asking.stop()
    await racePosts('KEPT')
  })

  test('GETs, which take open connections to an only endpoint, fail until it is known that it closes them: then 0 of 300', async () => {
    const port = 8050
    const asked = [...servers.entries()].filter(([, server]) => isServed(server, { speaks: 'http' }))
    const urlOf = (index: number) => `http://${addressOf('envoy', index, port)}`
    const first = await race(
      'GET',
      idleTimes[port]!,
      asked.map(([index]) => urlOf(index)),
    )
    const closing = asked.filter(([index]) => first.stdout.includes(`${urlOf(index)} 503`))
    assert.ok(closing.length > 0, first.stdout)
    for (const [index] of closing) {
      const name = `default/${nameAt(addressOf('envoy', index, port))}`
      await lab.until(name, async () => {
        const view = (await lab.explain(name))?.envoyPorts[`${name}/http`]
        return view?.endConnections && view.resources.every(({ status }) => status === 'acknowledged')
      })
      assert.match(
        (await lab.lightpath('explain', name, '--socket', lab.socket)).stdout,
        /reuse-connections is never for an hour/,
      )
    }
    await sleep(settleMs)
    const again = await race(
      'GET',
      idleTimes[port]!,
      closing.map(([index]) => urlOf(index)),
    )
    assert.deepEqual([again.code, again.stdout], [0, ''], again.stderr)
  })
})
