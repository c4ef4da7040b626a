/** What tests of nf_tables write: Service ports of all kinds, and the options that make other rules. */

import fc from 'fast-check'
import type { KernelOptions } from '../../../src/kernel/options.ts'
import { portState } from '../../../src/kernel/testing/states.ts'
import type { Protocol } from '../../../src/net/address.ts'

/** Service ports of distinct VIP, protocol and number. */
export const states = fc
  .uniqueArray(
    fc.record({
      vip: fc.constantFrom('10.0.0.1', '10.0.0.2', 'fd00::1', 'fd00::2'),
      protocol: fc.constantFrom<Protocol>('TCP', 'UDP', 'SCTP'),
      port: fc.constantFrom(53, 80, 1666),
      endpoints: fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { maxLength: 5 }),
      wantsEnvoy: fc.boolean(),
      affinitySeconds: fc.constantFrom(undefined, 10_800),
    }),
    { selector: ({ vip, protocol, port }) => `${vip} ${protocol} ${port}`, maxLength: 12 },
  )
  .map(ports =>
    ports.map(({ vip, protocol, port, endpoints, wantsEnvoy, affinitySeconds }, index) =>
      portState(
        `ns/s${index}/p`,
        vip,
        endpoints.map(n => (vip.includes(':') ? `fd01::${n} ${8000 + n}` : `10.1.0.${n}:${8000 + n}`)),
        {
          port: { name: 'p', protocol, port },
          affinitySeconds,
          ...(wantsEnvoy ? { layer: { wants: 'envoy', protocol: 'http', reason: '' } } : {}),
        },
      ),
    ),
  )

export const variants: readonly (readonly [string, Partial<KernelOptions>])[] = [
  ['by default', {}],
  [
    "with the client's address and pods told by their CIDR",
    { clientAddress: 'preserve', clusterCidr: ['10.244.0.0/16', 'fd00:10::/64'] },
  ],
  [
    'with pods told by the names of interfaces',
    { detectLocalMode: 'InterfaceNamePrefix', podInterfaceNamePrefix: 'veth' },
  ],
  [
    'with pods told by a bridge',
    { clientAddress: 'preserve', detectLocalMode: 'BridgeInterface', podBridgeInterface: 'cni0' },
  ],
  ['with all masqueraded, beside a kube-proxy', { masqueradeAll: true, ownsClusterIPs: false }],
  [
    'with other marks, and node ports everywhere',
    { steeringMark: 0x40_0000, envoyMark: 0x1, nodeportAddresses: ['0.0.0.0/0', '::/0'] },
  ],
]
