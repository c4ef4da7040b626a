/** The kernel: marks, rules, whose address connections have, and connection tracking. */

import { proxyModes } from '../../kernel/backends.ts'
import { type DetectLocalMode, detectLocalModes } from '../../kernel/options.ts'
import { clientAddressModes } from '../../services/settings/clientaddress.ts'
import { formatDuration } from '../../services/settings/duration.ts'
import type { Definition } from './definition.ts'
import { count, duration, hex, interfaceName, markBit, oneOf, onOff, ranges, yesOrNo } from './values.ts'

export const kernelOptions = {
  steeringMark: {
    ...markBit,
    description: 'packet mark bit of connections that go to Envoy',
    default: 0x8000,
    defaultText: hex(0x8000),
  },
  envoyMark: {
    ...markBit,
    description: "packet mark bit of Envoy's own connections",
    default: 0x1000,
    defaultText: hex(0x1000),
  },
  proxyMode: {
    ...oneOf(...proxyModes),
    description:
      'what the kernel layer is written with; iptables (and ipset) where there is no nftables: cluster IPs only, and no test of the path to Envoy',
    default: proxyModes[0]!,
  },
  routeTable: {
    placeholder: 'NUMBER',
    parse: (value: string) => (/^\d{1,9}$/.test(value) && Number(value) > 255 ? Number(value) : undefined),
    accepts: 'a number from 256 to 999999999',
    description: 'routing table that delivers redirected packets to this host',
    default: 1666,
  },
  rulePriority: {
    placeholder: 'NUMBER',
    parse: (value: string) =>
      /^\d{1,5}$/.test(value) && Number(value) > 0 && Number(value) < 32_766 ? Number(value) : undefined,
    accepts: 'a number from 1 to 32765',
    description: 'priority of the routing rule for redirected packets: before those that others have for pods',
    default: 5,
  },
  abandonAfter: {
    ...duration,
    description:
      "how long the kernel's rules stay before kube-proxy's without an agent; then what kube-proxy serves is its, and the kernel layer goes on with the rest; 0: for ever",
    default: 3600e3,
    defaultText: formatDuration(3600e3),
  },
  masqueradeMark: {
    ...markBit,
    description: "packet mark bit of connections that get the node's address as their source",
    default: 0x4000,
    defaultText: hex(0x4000),
  },
  nodeportAddresses: {
    ...ranges({ primary: ['primary'], localhost: ['127.0.0.0/8', '::1/128'], all: ['0.0.0.0/0', '::/0'] }),
    description:
      "addresses of the node that open node ports: CIDRs, all, localhost, or primary for the node's InternalIP (else ExternalIP) of each family; all where they name none of a family, and never loopback ones, so that localhost alone opens none",
    default: ['primary'] as readonly string[],
    defaultText: 'primary',
  },
  detectLocalMode: {
    ...oneOf(...detectLocalModes),
    description: 'how connections of pods are told from those that come to a cluster IP from outside the cluster',
    default: 'ClusterCIDR' as DetectLocalMode,
  },
  clusterCidr: {
    ...ranges(),
    description: 'addresses of pods, for --detect-local-mode=ClusterCIDR, one range a family; without, none is told',
    default: [] as readonly string[],
    defaultText: 'none',
  },
  podBridgeInterface: {
    ...interfaceName,
    description: 'bridge of the pods, for --detect-local-mode=BridgeInterface',
    default: undefined as string | undefined,
  },
  podInterfaceNamePrefix: {
    ...interfaceName,
    description: "beginning of the names of pods' interfaces, for --detect-local-mode=InterfaceNamePrefix",
    default: undefined as string | undefined,
  },
  masqueradeAll: {
    ...onOff,
    description: "give all connections to cluster IPs through the kernel the node's address as their source",
    default: false as boolean,
    defaultText: 'off',
  },
  clientAddress: {
    ...oneOf(...clientAddressModes),
    description:
      "what endpoints see as the peer of connections through Envoy: preserve is the client's address (needs a routed pod network and Linux 6.3; give it to both `node` and `bootstrap`), forwarded-for the node's, with the client's in X-Forwarded-For; auto is preserve on nodes where all that it needs is proven, and forwarded-for until then",
    default: 'auto' as (typeof clientAddressModes)[number],
  },
  pathTest: {
    ...onOff,
    description:
      'test whether connections of pods reach Envoy on this node before any is redirected there; off takes it for granted',
    default: true as boolean,
    defaultText: 'on',
  },
  conntrackMaxPerCore: {
    ...count,
    description:
      'entries of the table of connections (conntrack) for each core, never made smaller; 0 leaves its size alone. As the other conntrack settings with --services=all only; else they are those of the kube-proxy beside',
    default: 32_768,
  },
  conntrackMin: { ...count, description: 'entries of that table, however few cores there are', default: 131_072 },
  conntrackTcpTimeoutEstablished: {
    ...duration,
    description: 'how long a TCP connection may be idle before it is forgotten; 0 leaves it alone',
    default: 86_400e3,
    defaultText: formatDuration(86_400e3),
  },
  conntrackTcpTimeoutCloseWait: {
    ...duration,
    description: 'how long a TCP connection is kept that only one side has closed; 0 leaves it alone',
    default: 3600e3,
    defaultText: formatDuration(3600e3),
  },
  conntrackTcpBeLiberal: {
    ...yesOrNo,
    description: 'whether packets outside the TCP window are taken for valid; false leaves it alone',
    default: false as boolean,
  },
  conntrackUdpTimeout: {
    ...duration,
    description: 'how long UDP without an answer is remembered; 0 leaves it alone',
    default: 0,
  },
  conntrackUdpTimeoutStream: {
    ...duration,
    description: 'how long UDP with answers is remembered; 0 leaves it alone',
    default: 0,
  },
} satisfies Record<string, Definition<unknown>>
