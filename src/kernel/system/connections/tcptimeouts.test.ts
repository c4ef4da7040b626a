import assert from 'node:assert/strict'
import { test } from 'node:test'
import { countTcpTimeouts, timeoutsIn } from './tcptimeouts.ts'

test('timeouts of TCP are found by their name', () => {
  const ip = 'IpExt: InNoRoutes TCPTimeouts\nIpExt: 1 2\n'
  assert.equal(timeoutsIn(`TcpExt: SyncookiesSent TCPTimeouts TCPKeepAlive\nTcpExt: 3 17 5\n${ip}`), 17)
  assert.equal(timeoutsIn(ip), undefined)
  assert.equal(typeof countTcpTimeouts(), 'number')
})
