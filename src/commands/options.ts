/** What can be configured: one table for the flags, for the YAML file given with --config, and for --help. */

import { hostname } from 'node:os'
import { redirects } from '../kernel/layer.ts'
import { type DetectLocalMode, detectLocalModes } from '../kernel/masquerade.ts'
import { logLevels } from '../observe/log.ts'
import { clientAddressModes } from '../services/clientaddress.ts'
import { formatDuration } from '../services/duration.ts'
import { type ServiceScope, serviceScopes } from '../services/layer.ts'
import { defaultEnvoyLimits } from '../services/model/envoy-quota.ts'
import {
  type BindAddress,
  bindAddress,
  count,
  countOrAll,
  duration,
  hex,
  interfaceName,
  lineRate,
  markBit,
  names,
  oneOf,
  onOff,
  path,
  portNumber,
  ranges,
  type Shape,
  text,
  userId,
  yesOrNo,
} from './values.ts'

export interface Definition<T> extends Shape<T> {
  readonly description: string
  readonly default: T
  /** The default for --help where its value does not say it. */
  readonly defaultText?: string
}

export const definitions = {
  nodeName: {
    ...text,
    description: 'this node, as the Kubernetes API calls it',
    default: process.env.NODE_NAME || hostname(),
    defaultText: '$NODE_NAME, else the host name; for verify and preflight the name that the running agent has',
  },
  source: {
    ...path,
    description: 'directory of manifests (YAML or JSON) to read Services from, in place of the Kubernetes API',
    default: undefined as string | undefined,
  },
  kubeconfig: {
    ...path,
    description: 'how to reach the Kubernetes API',
    default: undefined as string | undefined,
    defaultText: 'in a pod its service account, else $KUBECONFIG or ~/.kube/config',
  },
  services: {
    ...oneOf(...serviceScopes),
    description:
      'Services to serve; labelled: only those with the label service.kubernetes.io/service-proxy-name: lightpath.cloud, beside a kube-proxy that serves the others',
    default: 'all' as ServiceScope,
  },
  families: {
    ...oneOf('ipv4', 'ipv6', 'dual'),
    description: 'IP families to serve; dual is ipv4 alone where the kernel has no IPv6, or lo has it disabled',
    default: 'dual' as 'ipv4' | 'ipv6' | 'dual',
  },
  envoySockets: {
    ...path,
    description:
      'directory of the Unix sockets between agent and Envoy (xDS, admin interface, canary), which the agent closes to all but root and the user of Envoy; give it to both `node` and `bootstrap`',
    default: '/run/lightpath/envoy',
  },
  envoyUser: {
    ...userId,
    description: 'id of the user that Envoy runs as, and of its group; it, and no other but root, is taken for Envoy',
    default: 61166,
  },
  adminPort: {
    ...portNumber,
    description:
      "port, on 127.0.0.1, on which Envoy's admin pages can be read; an Envoy that follows another has the next one",
    default: 15000,
  },
  redirectPort: { ...portNumber, description: 'port on which Envoy takes redirected connections', default: 1666 },
  metricsAddress: {
    ...text,
    description: 'address of /metrics, /healthz and /readyz',
    default: undefined as string | undefined,
    defaultText: 'all addresses, IPv4 and, where the node has it, IPv6',
  },
  metricsPort: {
    ...portNumber,
    description: 'port of /metrics without the series of Services, /healthz and /readyz; for whoever asks',
    default: 9000,
  },
  servicesMetricsPort: {
    ...portNumber,
    description:
      'port of /metrics with the series of Services: by HTTPS for bearers of a token whose user may get the nonResourceURL /metrics; with --source by HTTP, on 127.0.0.1 alone',
    default: 9001,
  },
  metricsBindAddress: {
    ...bindAddress(10249),
    description:
      'where /metrics (as on --metrics-port), /healthz and /proxyMode are, too, as kube-proxy has them at 127.0.0.1:10249',
    default: 'none' as BindAddress,
  },
  healthzBindAddress: {
    ...bindAddress(10256),
    description: "where load balancers and probes ask for /healthz and /livez, as they ask kube-proxy's",
    default: undefined as BindAddress | undefined,
    defaultText: 'port 10256 of all addresses; none with --services=labelled, where kube-proxy has that port',
  },
  webhookAddress: {
    ...text,
    description: 'address on which the webhook listens',
    default: undefined as string | undefined,
    defaultText: 'all addresses, IPv4 and IPv6',
  },
  webhookPort: { ...portNumber, description: 'port of the webhook, and of its /healthz', default: 9443 },
  certificate: {
    ...path,
    description:
      "directory with tls.crt and tls.key for the webhook, such as cert-manager's; read again when they change. caBundle of the webhook configuration is then left to whoever makes them",
    default: undefined as string | undefined,
    defaultText: 'one of its own, kept in the Secret lightpath-webhook',
  },
  clientAuthorities: {
    ...path,
    description:
      'file with certificates (PEM) of authorities, one of which has to have signed the certificate of whoever asks the webhook; read again when it changes',
    default: undefined as string | undefined,
    defaultText: 'none: whoever can reach the webhook may ask',
  },
  clientNames: {
    ...names,
    description: 'common names, one of which that certificate has to have',
    default: [] as readonly string[],
    defaultText: 'any',
  },
  socket: {
    ...path,
    description: 'Unix socket at which the agent answers explain, status, services and debug dump',
    default: '/run/lightpath/agent.sock',
  },
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
  redirect: {
    ...oneOf(...redirects),
    description:
      'what the kernel layer is written with; iptables (and ipset) where there is no nftables: cluster IPs only, and no test of the path to Envoy',
    default: 'nftables' as (typeof redirects)[number],
  },
  routeTable: {
    placeholder: 'NUMBER',
    parse: (value: string) => (/^\d{1,9}$/.test(value) && Number(value) > 255 ? Number(value) : undefined),
    accepts: 'a number from 256 to 999999999',
    description: 'routing table that delivers steered packets to this host',
    default: 1666,
  },
  rulePriority: {
    placeholder: 'NUMBER',
    parse: (value: string) =>
      /^\d{1,5}$/.test(value) && Number(value) > 0 && Number(value) < 32_766 ? Number(value) : undefined,
    accepts: 'a number from 1 to 32765',
    description: 'priority of the routing rule for steered packets: before those that others have for pods',
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
      'test whether connections of pods reach Envoy on this node before any is steered there; off takes it for granted',
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
  envoyPortsPerService: {
    ...count,
    description:
      'ports of a Service that Envoy takes, and places outside that lead to it (setting external); the kernel layer serves the rest',
    default: defaultEnvoyLimits.ofService,
  },
  envoyPortsPerNamespace: {
    ...count,
    description: 'the same of all Services of a namespace together; older Services come first',
    default: defaultEnvoyLimits.ofNamespace,
  },
  envoyPorts: {
    ...countOrAll,
    description:
      'Service ports that Envoy has here. Of more, it has those that this node called most recently (with --redirect=iptables, those that came first), and those with the setting overlay: always; the kernel layer serves the others',
    default: 1000 as number | 'all',
  },
  envoyEndpointsPerPort: {
    ...count,
    description:
      'endpoints that Envoy has of a Service port with more: a random part, another on each node, which changes as little as can be; 0 for all. The kernel layer has all',
    default: 1000,
  },
  envoyHeap: {
    ...count,
    description:
      'MiB of memory that Envoy may have in use, for `bootstrap`; from 80 % of it on the kernel layer serves. Its container needs a quarter more',
    default: 2048,
  },
  accessLogRate: {
    ...lineRate,
    description:
      'lines a second that the access log has of a Service port on this node, ten times as many at once; five times as many of all ports of a namespace',
    default: 50,
  },
  drainTime: {
    ...duration,
    description:
      'how long connections of a port that left Envoy may stay there before they are told to end; five minutes later at most none is left',
    default: 600e3,
    defaultText: formatDuration(600e3),
  },
  logLevel: {
    ...oneOf(...logLevels),
    description: 'least important level that is logged',
    default: 'info' as (typeof logLevels)[number],
  },
} satisfies Record<string, Definition<unknown>>

export type OptionName = keyof typeof definitions
export type Config = { readonly [name in OptionName]: (typeof definitions)[name]['default'] }

/** `--log-level` */
export function flagOf(name: OptionName): string {
  return `--${name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`
}

/** The default in words; undefined where there is none. */
export function describeDefault(name: OptionName): string | undefined {
  const definition: Definition<unknown> = definitions[name]
  const value = definition.defaultText ?? definition.default
  return value === undefined ? undefined : String(value)
}
