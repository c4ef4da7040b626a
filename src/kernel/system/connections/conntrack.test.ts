import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { External, PortState } from '../../../plan/ports/port.ts'
import { belowFromOutside, portState } from '../../testing/states.ts'
import { staleFrontends } from './conntrack.ts'

const udp = { name: '', protocol: 'UDP', port: 53 } as const
const at = (n: number) => `10.1.0.${n}:5353`
const endpoint = (n: number) => ({ ip: `10.1.0.${n}`, port: 5353 })

function dns(chosen: readonly number[], servingEndpoints = chosen, external?: Partial<External>): PortState {
  const outside: External | undefined = external && {
    nodePort: undefined,
    externalIPs: [],
    loadBalancerIPs: [],
    sourceRanges: [],
    policy: 'Cluster',
    endpoints: chosen.map(endpoint),
    clusterEndpoints: chosen.map(endpoint),
    noLocalEndpoints: false,
    layer: belowFromOutside,
    ...external,
  }
  const more = { port: udp, servingEndpoints: servingEndpoints.map(endpoint), external: outside }
  return portState('a/dns/53', '10.0.0.1', chosen.map(at), more)
}

const stale = (before: PortState | undefined, after: PortState) => [...staleFrontends(before, after).keys()]

test('Flows are checked when an endpoint no longer answers, when there was none, and when nothing is known', () => {
  assert.deepEqual(stale(dns([1, 2]), dns([1])), ['UDP 10.0.0.1 53'])
  assert.deepEqual(stale(dns([]), dns([1])), ['UDP 10.0.0.1 53'])
  assert.deepEqual(stale(undefined, dns([1])), ['UDP 10.0.0.1 53'])
  assert.deepEqual(stale(dns([1]), dns([1, 2])), [])
})

test('Every frontend of the port counts: external and load-balancer IPs, and the node port', () => {
  const outside = { nodePort: 30_053, externalIPs: ['192.0.2.1'], loadBalancerIPs: ['192.0.2.2'] }
  const all = ['10.0.0.1 53', '192.0.2.1 53', '192.0.2.2 53', 'IPv4 30053'].map(frontend => `UDP ${frontend}`)
  assert.deepEqual(stale(dns([1, 2], undefined, outside), dns([1], undefined, outside)), all)
  assert.deepEqual(stale(dns([1]), dns([1], undefined, outside)), all.slice(1))
  assert.deepEqual(stale(dns([1], [1], { ...outside, endpoints: [] }), dns([1], [1], outside)), all)
})

test('What still answers keeps its flows, whatever is chosen for new ones', () => {
  const numbers = fc.uniqueArray(fc.integer({ min: 1, max: 6 }), { minLength: 1 })
  fc.assert(
    fc.property(numbers, numbers, numbers, (servingEndpoints, one, other) => {
      const among = (chosen: number[]) => [...new Set(chosen.map(n => servingEndpoints[n % servingEndpoints.length]!))]
      assert.deepEqual(stale(dns(among(one), servingEndpoints), dns(among(other), servingEndpoints)), [])
    }),
  )
})

test('Of TCP and SCTP flows are checked when an endpoint is left out, and not while it stays so or when it is back', () => {
  for (const protocol of ['TCP', 'SCTP'] as const) {
    const web = (leftOut?: readonly number[]) => {
      const more = { port: { name: 'web', protocol, port: 80 }, ...(leftOut && { leftOut: leftOut.map(endpoint) }) }
      return portState('a/web/80', '10.0.0.1', ['10.1.0.9:80'], more)
    }
    const all = [`${protocol} 10.0.0.1 80`]
    assert.deepEqual(stale(undefined, web()), [])
    assert.deepEqual(stale(web(), web([1])), all)
    assert.deepEqual(stale(web([1]), web([1, 2])), all)
    assert.deepEqual(stale(undefined, web([1])), all)
    assert.deepEqual(stale(web([1, 2]), web([2])), [])
    assert.deepEqual(stale(web([2]), web()), [])
  }
})
