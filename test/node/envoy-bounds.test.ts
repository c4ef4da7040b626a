/** What a user's Services may cost Envoy. */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { aPortState } from '../../src/services/testing.ts'
import { eventually, exchange, httpEndpoint, serve, servicePort } from './envoy.ts'

/** Resident, in kB. */
function memoryOf(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1])
}

test('a port number that only one Service port has costs Envoy 30 kB at most', async t => {
  const ports = 500
  const memoryWith = async (portNumber: (i: number) => number) => {
    const states = Array.from({ length: ports }, (_, i) =>
      aPortState({
        id: `a/s/http-${i}`,
        vip: `127.9.${i >> 8}.${i & 255}`,
        port: { name: `http-${i}`, protocol: 'TCP', port: portNumber(i) },
      }),
    )
    return memoryOf((await serve(t, states, { bind: false })).pid)
  }
  const [one, many] = [await memoryWith(() => 20_000), await memoryWith(i => 20_000 + i)]
  assert.ok((many - one) / ports < 30, `${(many - one) / ports} kB`)
})

test('a line of the access log has what matters of a request, however much of it a client writes', async t => {
  const { port: endpoint } = await httpEndpoint(t, (_, response) => response.writeHead(500).end())
  const state = await servicePort('failing', 'http', [endpoint])
  const { accessLog } = await serve(t, [state])
  const much = 'x'.repeat(200_000)
  const headers = `Host: ${much}\r\nX-Request-Id: ${much}\r\nConnection: close\r\n\r\n`
  await exchange(t, state.port.port, `GET /${much} HTTP/1.1\r\n${headers}`)
  await eventually(
    () => accessLog().length > 0,
    () => 'a line',
  )
  const [line] = accessLog()
  assert.equal(line!.path, `/${'x'.repeat(255)}`)
  assert.ok(JSON.stringify(line).length < 1200, JSON.stringify(line))
})
