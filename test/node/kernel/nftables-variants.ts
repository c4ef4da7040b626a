/** The options that make other rules, by what they do. */

import type { KernelOptions } from '../../../src/kernel/options.ts'

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
