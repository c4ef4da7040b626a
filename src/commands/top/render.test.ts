import assert from 'node:assert/strict'
import { test } from 'node:test'
import { aPortTraffic } from '../../top/testing.ts'
import type { PortTraffic } from '../../top/traffic.ts'
import { render } from './render.ts'

const port = (service: string, more: Partial<PortTraffic> = {}): PortTraffic => ({ ...aPortTraffic, service, ...more })

const report = (...ports: readonly PortTraffic[]) => ({
  time: '2026-11-29T10:00:00.000Z',
  intervalSeconds: 2,
  nodes: [{ name: 'node1' }, { name: 'node2', error: 'its agent is not ready: CrashLoopBackOff' }],
  ports,
})

const pinned = port('slow', {
  layer: 'kube-proxy',
  requestsPerSecond: 0,
  latency: { perSecond: {} },
  connections: 4,
  pinnedConnections: 4,
  endpoints: [{ address: '10.244.1.1:80', requestsPerSecond: 0, pinnedConnections: 4 }],
})

test('a line has everything of a Service port, and says of a kernel port where its connections are', () => {
  const text = render(report(port('web'), pinned, port('idle', { requestsPerSecond: 0, connections: 0 })), undefined)
  assert.match(text, /^1 of 2 nodes, 10:00:00 UTC, of the last 2 s$/m)
  assert.match(text, /^node node2: its agent is not ready: CrashLoopBackOff$/m)
  assert.match(text, /^shop\/web:http +Envoy +120 +1\.2ms +250ms +0 +0\.5 +1 +3 +0 +75% 25%$/m)
  assert.match(text, /^shop\/slow:http +kube-proxy +- +- +- +- +- +- +4 +4 +100%$/m)
  assert.match(text, /^1 without$/m)
  assert.doesNotMatch(text, /idle/)
})

test('one Service alone has a line for each endpoint', () => {
  const text = render(report(port('web')), 'shop/web')
  assert.match(text, /^ {2}10\.244\.1\.1:80 +75% {2}#{23} +90 requests\/s$/m)
  assert.match(text, /^ {2}10\.244\.1\.2:80 +25% {2}#{8} +30 requests\/s$/m)
  assert.match(render(report(pinned), 'shop/slow'), /^ {2}10\.244\.1\.1:80 +100% {2}#{30} {2}4 connections$/m)
  assert.match(render(report(), 'shop/none'), /^no Service ports of shop\/none$/m)
})

test('where Envoy balances by latency an endpoint’s line has its estimate', () => {
  const [first, second] = aPortTraffic.endpoints
  const byLatency = port('web', { endpoints: [{ ...first!, answersIn: 0.0042 }, second!] })
  const text = render(report(byLatency), 'shop/web')
  assert.match(text, /90 requests\/s, answers in 4\.2ms$/m)
  assert.match(text, /30 requests\/s$/m)
})

test('no line is wider and no page longer than the terminal, and what matters most stays', () => {
  const many = report(...Array.from({ length: 50 }, (_, at) => port(`web-${at}`)))
  for (const columns of [20, 40, 60, 80, 120]) {
    const lines = render(many, undefined, { columns, rows: 24 }).trimEnd().split('\n')
    assert.ok(lines.length < 24, String(lines.length))
    assert.ok(
      lines.every(line => line.length <= columns),
      `wider than ${columns}`,
    )
    if (columns >= 40) assert.match(lines[3]!, /^SERVICE PORT +REQ\/S|LAYER +REQ\/S/)
    assert.match(lines.at(-1)!, /^(31|32) more Servi/)
  }
})
