/** Packets to Service ports, the ports, and the model of the kernel that has them. */

import fc from 'fast-check'
import type { Protocol } from '../../net/address.ts'
import type { PortState } from '../../plan/ports/port.ts'
import { transportOf } from '../family.ts'
import { renewHeartbeat } from '../nftables/heartbeat.ts'
import { planRuleset } from '../nftables/render.ts'
import { NftablesModel } from '../tracer/model.ts'
import type { Packet, TracedNode } from '../tracer/packet.ts'
import { portState, testOptions } from './states.ts'

export const envoyAlive: TracedNode = { listeners: [1666, 1667], localAddresses: ['172.30.0.1'], random: () => 0 }
export const envoyDead: TracedNode = { ...envoyAlive, listeners: [] }

/** @param sharesListener which of them go to the listener that Service ports share. Default none */
export function modelOf(states: readonly PortState[], sharesListener?: (state: PortState) => boolean): NftablesModel {
  const model = new NftablesModel()
  model.apply(planRuleset(states, undefined, testOptions, sharesListener))
  for (const family of ['ip', 'ip6'] as const) model.apply(renewHeartbeat(family, 0))
  return model
}

export function packetTo(state: PortState, more: Partial<Packet> = {}): Packet {
  const { family, vip, port } = state
  return {
    family: family === 'IPv4' ? 'ip' : 'ip6',
    from: 'pod',
    protocol: transportOf[port.protocol],
    source: family === 'IPv4' ? '10.1.9.9' : 'fd01::99',
    destination: vip,
    port: port.port,
    isNew: true,
    ...more,
  }
}

const forEnvoy = { layer: { wants: 'envoy', protocol: 'http', reason: '' } } as const
export const http = portState('a/http/http', '10.0.0.1', ['10.1.0.1:8080'], forEnvoy)
export const onlyKernel = portState('a/tcp/tcp', '10.0.0.2', ['10.1.0.1:8080', '10.1.0.2:8080'])

/** Ports of distinct VIP, protocol and number, some of them for Envoy, with endpoints of up to 5 addresses. */
export const states = fc
  .uniqueArray(
    fc.record({
      vip: fc.constantFrom('10.0.0.1', '10.0.0.2', 'fd00::1', 'fd00::2'),
      protocol: fc.constantFrom<Protocol>('TCP', 'UDP', 'SCTP'),
      port: fc.constantFrom(53, 80, 1666),
      endpoints: fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { maxLength: 5 }),
      wantsEnvoy: fc.boolean(),
      noLocalEndpoints: fc.boolean(),
      affinitySeconds: fc.constantFrom(undefined, 10_800),
    }),
    { selector: ({ vip, protocol, port }) => `${vip} ${protocol} ${port}`, maxLength: 12 },
  )
  .map(ports =>
    ports.map(({ vip, protocol, port, endpoints, wantsEnvoy, noLocalEndpoints, affinitySeconds }, index) =>
      portState(
        `ns/s${index}/p`,
        vip,
        endpoints.map(n => (vip.includes(':') ? `fd01::${n} ${8000 + n}` : `10.1.0.${n}:${8000 + n}`)),
        {
          port: { name: 'p', protocol, port },
          noLocalEndpoints,
          affinitySeconds,
          ...(wantsEnvoy && affinitySeconds === undefined ? forEnvoy : {}),
        },
      ),
    ),
  )
