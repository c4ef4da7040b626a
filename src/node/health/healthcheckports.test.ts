import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { test } from 'node:test'
import { waitFor } from '../../lab/wait.ts'
import { silentLog } from '../../sources/testing.ts'
import { HealthCheckPorts } from './healthcheckports.ts'

async function freePort(): Promise<number> {
  const server = createServer().listen(0)
  const { port } = server.address() as { port: number }
  await new Promise(resolve => server.close(resolve))
  return port
}

test('while the kernel does not follow, load balancers get 503 even though there are endpoints', async () => {
  const problems: unknown[] = []
  let isHealthy = false
  const ports = new HealthCheckPorts({
    families: ['IPv4'],
    isHealthy: () => isHealthy,
    onProblems: (_origin, found) => void problems.push(...found),
    log: silentLog,
  })
  try {
    const port = await freePort()
    const url = `http://127.0.0.1:${port}/`
    ports.set('a/b', [{ namespace: 'a', name: 'b', family: 'IPv4', port, localEndpoints: 2 }])
    await assert.rejects(fetch(url), 'before the kernel has anything')
    ports.open()
    const answer = await waitFor('an answer', 20_000, () => fetch(url).catch(() => undefined))
    assert.equal(answer.status, 503)
    assert.equal(answer.headers.get('x-load-balancing-endpoint-weight'), '2')
    assert.deepEqual(await answer.json(), {
      service: { namespace: 'a', name: 'b' },
      localEndpoints: 2,
      serviceProxyHealthy: false,
    })
    isHealthy = true
    assert.equal((await fetch(url)).status, 200)
    assert.deepEqual(problems, [])
  } finally {
    await ports.stop()
  }
})

test('a port that goes from one Service to another in one change is a problem of neither', async () => {
  const problems: unknown[] = []
  const ports = new HealthCheckPorts({
    families: ['IPv4'],
    isHealthy: () => true,
    onProblems: (_origin, found) => void problems.push(...found),
    log: silentLog,
  })
  try {
    const port = await freePort()
    const check = (name: string) => [{ namespace: 'a', name, family: 'IPv4', port, localEndpoints: 1 }] as const
    const owner = () =>
      fetch(`http://127.0.0.1:${port}/`)
        .then(async answer => ((await answer.json()) as { service: { name: string } }).service.name)
        .catch(() => undefined)
    ports.open()
    ports.set('a/first', check('first'))
    await waitFor('the first', 20_000, async () => (await owner()) === 'first')
    ports.set('a/first', [])
    ports.set('a/second', check('second'))
    await waitFor('the second', 20_000, async () => (await owner()) === 'second')
    assert.deepEqual(problems, [])
  } finally {
    await ports.stop()
  }
})

test('connections to the ports of one namespace keep nobody from those of another', async t => {
  const ports = new HealthCheckPorts({
    families: ['IPv4'],
    isHealthy: () => true,
    onProblems: () => {},
    log: silentLog,
    mostConnections: 4,
  })
  t.after(() => ports.stop())
  const [many, few] = [await freePort(), await freePort()]
  const check = (namespace: string, port: number) =>
    [{ namespace, name: 'b', family: 'IPv4', port, localEndpoints: 1 }] as const
  ports.set('greedy/b', check('greedy', many))
  ports.set('modest/b', check('modest', few))
  ports.open()
  const open = async (port: number) => {
    const socket = connect({ port, host: '127.0.0.1', localAddress: '127.0.0.2' })
    t.after(() => socket.destroy())
    socket.on('error', () => {})
    await Promise.race([once(socket, 'connect'), once(socket, 'close')]).catch(() => {})
    return socket
  }
  for (const port of [many, few]) await waitFor('the port', 20_000, async () => !(await open(port)).destroyed)
  const held = await Promise.all(Array.from({ length: 20 }, () => open(many)))
  const areOpen = () => held.filter(({ closed }) => !closed).length
  await waitFor('the bound', 20_000, () => areOpen() <= 4)
  const other = await open(few)
  other.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
  const [answer] = await Promise.race([once(other, 'data'), once(other, 'close')])
  assert.match(String(answer), /^HTTP\/1\.1 200 /)
})
