import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isUnwanted, type Unwanted } from './endconnections.ts'

const envoy = { envoyMark: 0x1000, redirectPort: 1666, hasAddress: (ip: string) => ip === '172.30.0.1' }

interface Ends {
  readonly own: string
  readonly peer: string
  readonly mark?: number
  readonly transparent?: boolean
}

/** `10.0.0.1:80` */
function isEnded({ own, peer, mark = 0, transparent }: Ends, unwanted: Unwanted): boolean {
  const [local, remote] = [own, peer].map(text => {
    const [, ip = '', port] = /^(.*):(\d+)$/.exec(text) ?? []
    return { ip, port: Number(port) }
  })
  return isUnwanted({ local: local!, remote: remote!, mark, transparent }, unwanted, envoy)
}

test('connections of a client with Envoy end, and those of the node itself with that pod do not', () => {
  const unwanted = { clients: new Set(['10.1.0.1']) }
  assert.ok(isEnded({ own: '10.96.0.1:80', peer: '10.1.0.1:40000' }, unwanted))
  assert.ok(isEnded({ own: '172.30.0.1:1666', peer: '10.1.0.1:40000' }, unwanted))
  assert.ok(isEnded({ own: '10.1.0.1:61000', peer: '10.1.0.2:8080', mark: 0x3000 }, unwanted))
  assert.ok(!isEnded({ own: '172.30.0.1:40000', peer: '10.1.0.1:8080' }, unwanted))
  assert.ok(!isEnded({ own: '10.96.0.1:80', peer: '10.1.0.2:40000' }, unwanted))
})

test('connections of Envoy to an endpoint end, and those of others on the node do not', () => {
  const unwanted = { endpoints: new Set(['10.1.0.1']) }
  assert.ok(isEnded({ own: '172.30.0.1:40000', peer: '10.1.0.1:8080', mark: 0x1000 }, unwanted))
  assert.ok(isEnded({ own: '::ffff:172.30.0.1:40000', peer: '::ffff:10.1.0.1:8080', mark: 0x1000 }, unwanted))
  assert.ok(!isEnded({ own: '172.30.0.1:40000', peer: '10.1.0.1:8080' }, unwanted))
})

test('connections that came by a VIP and port or a node port end, whoever the client is', () => {
  const frontends = [
    { ip: '10.96.0.1', port: 80 },
    { ip: '0.0.0.0', port: 30080 },
  ]
  assert.ok(isEnded({ own: '10.96.0.1:80', peer: '10.1.0.1:40000' }, { frontends }))
  assert.ok(isEnded({ own: '172.30.0.1:30080', peer: '192.0.2.1:40000' }, { frontends }))
  assert.ok(!isEnded({ own: '10.96.0.1:81', peer: '10.1.0.1:40000' }, { frontends }))
  assert.ok(!isEnded({ own: '10.96.0.2:30080', peer: '10.1.0.1:40000' }, { frontends }))
})

test('connections of the node’s own processes go on, whatever external address and port a Service claims', () => {
  const frontends = [
    { ip: '172.30.0.1', port: 6443 },
    { ip: '0.0.0.0', port: 30080 },
  ]
  for (const own of ['172.30.0.1:6443', '172.30.0.1:30080']) {
    assert.ok(isEnded({ own, peer: '192.0.2.1:40000', transparent: true }, { frontends }))
    assert.ok(!isEnded({ own, peer: '192.0.2.1:40000', transparent: false }, { frontends }))
  }
})
