/**
 * What can be configured: one table for the flags, for the YAML file given with --config, and for --help. A flag counts
 * before the file, the file before the default.
 */

import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { type Command, Option } from 'commander'
import { parse as parseYaml } from 'yaml'
import { redirects } from '../kernel/layer.ts'
import { type DetectLocalMode, detectLocalModes } from '../kernel/masquerade.ts'
import type { TcpAddress } from '../observe/http.ts'
import { logLevels } from '../observe/log.ts'
import { canonicalIp, isPortNumber } from '../services/address.ts'
import { canonicalCidr } from '../services/cidr.ts'
import { clientAddressModes } from '../services/clientaddress.ts'
import { formatDuration, parseDuration } from '../services/duration.ts'
import { type ServiceScope, serviceScopes } from '../services/layer.ts'
import { UsageError } from './usage.ts'

type BindAddress = TcpAddress | 'none'

interface Definition<T> {
  readonly placeholder: string
  readonly description: string
  readonly default: T
  /** The default for --help where its value does not say it. */
  readonly defaultText?: string
  /** The value of a text from a flag or of a YAML scalar; undefined when it is none of what `accepts` says. */
  readonly parse: (text: string) => T | undefined
  readonly accepts: string
}

type Shape<T> = Pick<Definition<T>, 'placeholder' | 'parse' | 'accepts'>

const portNumber: Shape<number> = {
  placeholder: 'PORT',
  parse: text => (/^\d{1,5}$/.test(text) && isPortNumber(Number(text)) ? Number(text) : undefined),
  accepts: 'a port number from 1 to 65535',
}

const markBit: Shape<number> = {
  placeholder: 'MARK',
  parse: text => {
    const value = /^(0x[0-9a-f]{1,8}|\d{1,10})$/i.test(text) ? Number(text) : 0
    return value > 0 && value <= 0x80000000 && Number.isInteger(Math.log2(value)) ? value : undefined
  },
  accepts: 'a single bit of the packet mark, such as 0x1000',
}

const duration: Shape<number> = {
  placeholder: 'DURATION',
  parse: text => parseDuration(text),
  accepts: 'a duration such as 500ms, 30s or 10m',
}

const onOff: Shape<boolean> = {
  placeholder: 'on|off',
  parse: value => (value === 'on' || value === 'off' ? value === 'on' : undefined),
  accepts: 'on or off',
}

const interfaceName: Shape<string> = {
  placeholder: 'NAME',
  parse: value => (/^[^\s/"*]{1,15}$/.test(value) ? value : undefined),
  accepts: 'the name of a network interface, or its beginning',
}

/** @param keyword may stand in place of a CIDR */
function ranges(keyword?: string): Shape<readonly string[]> {
  const read = (part: string) => (part === keyword ? keyword : canonicalCidr(part))
  return {
    placeholder: 'CIDRS',
    parse: value => {
      const parts = value.split(',').map(part => read(part.trim()))
      return parts.includes(undefined) ? undefined : (parts as string[])
    },
    accepts: `${keyword === undefined ? '' : `${keyword} or `}a list of CIDRs such as 10.0.0.0/8,fd00::/8`,
  }
}

const count: Shape<number> = {
  placeholder: 'NUMBER',
  parse: value => (/^\d{1,9}$/.test(value) ? Number(value) : undefined),
  accepts: 'a whole number from 0 to 999999999',
}

const yesOrNo: Shape<boolean> = {
  placeholder: 'true|false',
  parse: value => (value === 'true' ? true : value === 'false' ? false : undefined),
  accepts: 'true or false',
}

const text: Shape<string> = { placeholder: 'TEXT', parse: value => value || undefined, accepts: 'a text' }
const path: Shape<string> = { ...text, placeholder: 'PATH', accepts: 'a path' }

function oneOf<T extends string>(...values: readonly T[]): Shape<T> {
  return { placeholder: values.join('|'), parse: value => values.find(v => v === value), accepts: values.join(' or ') }
}

/** `0.0.0.0:10256`, `[::]:10256`, or an address alone; `none` for no server. */
function bindAddress(usualPort: number): Shape<BindAddress> {
  return {
    placeholder: 'ADDRESS:PORT',
    parse: value => (value === 'none' ? 'none' : parseBindAddress(value, usualPort)),
    accepts: `an address with a port such as 0.0.0.0:${usualPort} or [::]:${usualPort}, or none`,
  }
}

function parseBindAddress(value: string, usualPort: number): TcpAddress | undefined {
  const [, bracketed, plain, port] = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d{1,5}))?$/.exec(value) ?? []
  const address = canonicalIp(bracketed ?? plain ?? value)
  const number = port === undefined ? usualPort : Number(port)
  return address !== undefined && isPortNumber(number) ? { address, port: number } : undefined
}

const hex = (value: number) => `0x${value.toString(16)}`

export const definitions = {
  nodeName: {
    ...text,
    description: 'this node, as the Kubernetes API calls it',
    default: hostname(),
    defaultText: 'host name',
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
    description: 'IP families to serve; dual is ipv4 alone where the kernel has no IPv6',
    default: 'dual' as 'ipv4' | 'ipv6' | 'dual',
  },
  xdsAddress: { ...text, description: 'address of the xDS server', default: '127.0.0.1' },
  xdsPort: { ...portNumber, description: 'port of the xDS server', default: 18000 },
  adminPort: { ...portNumber, description: "port of Envoy's admin interface, on 127.0.0.1", default: 15000 },
  redirectPort: { ...portNumber, description: 'port on which Envoy takes redirected connections', default: 1666 },
  canaryPort: {
    ...portNumber,
    description: 'port, on 127.0.0.1, on which Envoy answers canary requests',
    default: 1667,
  },
  metricsAddress: { ...text, description: 'address of /metrics, /healthz and /readyz', default: '0.0.0.0' },
  metricsPort: { ...portNumber, description: 'port of /metrics, /healthz and /readyz', default: 9000 },
  metricsBindAddress: {
    ...bindAddress(10249),
    description: 'where /metrics, /healthz and /proxyMode are, too, as kube-proxy has them at 127.0.0.1:10249',
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
  socket: { ...path, description: 'Unix socket of the agent, for explain', default: '/run/lightpath/agent.sock' },
  steeringMark: {
    ...markBit,
    description: 'packet mark bit of connections that go to Envoy',
    default: 0x1000,
    defaultText: hex(0x1000),
  },
  envoyMark: {
    ...markBit,
    description: "packet mark bit of Envoy's own connections",
    default: 0x2000,
    defaultText: hex(0x2000),
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
  masqueradeMark: {
    ...markBit,
    description: "packet mark bit of connections that get the node's address as their source",
    default: 0x4000,
    defaultText: hex(0x4000),
  },
  nodeportAddresses: {
    ...ranges('primary'),
    description:
      "addresses of the node that open node ports: CIDRs, or primary for the node's InternalIPs; all where they name none of a family, and never loopback ones",
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
  drainTime: {
    ...duration,
    description: 'how long connections of a port that left Envoy may stay there',
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

/** `--xds-port` */
export function flagOf(name: OptionName): string {
  return `--${name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`
}

/** The default in words; undefined where there is none. */
export function describeDefault(name: OptionName): string | undefined {
  const definition: Definition<unknown> = definitions[name]
  const value = definition.defaultText ?? definition.default
  return value === undefined ? undefined : String(value)
}

/** Gives the command these options, and --config. */
export function addOptions(command: Command, names: readonly OptionName[]): Command {
  for (const name of names) {
    const definition: Definition<unknown> = definitions[name]
    // Defaults are applied after the file was read, so commander is only told their words.
    const shown = describeDefault(name)
    const description = shown === undefined ? definition.description : `${definition.description} (default: ${shown})`
    command.addOption(new Option(`${flagOf(name)} <${definition.placeholder}>`, description))
  }
  return command.option('--config <FILE>', 'YAML file with the same settings, by name: xdsPort, logLevel, …')
}

/** The configuration of a command whose options `addOptions` gave. Throws UsageError with the flag or key that is wrong. */
export function readConfig(command: Command): Config {
  const flags: Readonly<Record<string, unknown>> = command.opts()
  const file = typeof flags.config === 'string' ? readConfigFile(flags.config) : {}
  const names = Object.keys(definitions) as OptionName[]
  const chosen = (name: OptionName) => {
    if (flags[name] !== undefined) return parseValue(name, String(flags[name]), flagOf(name))
    if (file[name] !== undefined) return parseValue(name, String(file[name]), `${flags.config}: ${name}`)
    return definitions[name].default
  }
  const config = Object.fromEntries(names.map(name => [name, chosen(name)])) as Config
  checkMarks(config)
  if (config.redirect === 'iptables' && config.clientAddress === 'preserve') {
    throw new UsageError('--client-address preserve needs --redirect nftables')
  }
  checkMasquerading(config)
  return config
}

function checkMarks(config: Config): void {
  const marks = ['steeringMark', 'envoyMark', 'masqueradeMark'] as const
  for (const [index, one] of marks.entries()) {
    const other = marks.slice(index + 1).find(name => config[name] === config[one])
    if (!other) continue
    throw new UsageError(`${flagOf(one)} and ${flagOf(other)} are the same bit (${hex(config[one])}); choose two`)
  }
}

function checkMasquerading(config: Config): void {
  const needed = { BridgeInterface: 'podBridgeInterface', InterfaceNamePrefix: 'podInterfaceNamePrefix' } as const
  for (const [mode, name] of Object.entries(needed)) {
    if (config.detectLocalMode !== mode || config[name] !== undefined) continue
    throw new UsageError(`${flagOf('detectLocalMode')}=${mode} needs ${flagOf(name)}`)
  }
  if (config.masqueradeAll && config.clientAddress === 'preserve') {
    throw new UsageError('--masquerade-all=on takes away the address that --client-address=preserve keeps; choose one')
  }
}

function parseValue(name: OptionName, value: string, where: string): unknown {
  const definition: Definition<unknown> = definitions[name]
  const parsed = definition.parse(value)
  if (parsed === undefined)
    throw new UsageError(`${where} is ${JSON.stringify(value)}, which is not ${definition.accepts}`)
  return parsed
}

function readConfigFile(file: string): Readonly<Record<string, unknown>> {
  const content = parseConfigFile(file) ?? {}
  if (typeof content !== 'object' || Array.isArray(content))
    throw new UsageError(`${file} is not a mapping of settings`)
  for (const [key, value] of Object.entries(content)) {
    if (!Object.hasOwn(definitions, key)) {
      throw new UsageError(`${file}: there is no setting ${key}; there are ${Object.keys(definitions).join(', ')}`)
    }
    if (typeof value === 'object') throw new UsageError(`${file}: ${key} is not a single value`)
  }
  return content as Readonly<Record<string, unknown>>
}

function parseConfigFile(file: string): unknown {
  try {
    return parseYaml(readFileSync(file, 'utf8'))
  } catch (error) {
    // The YAML library quotes the place below its first line.
    const [reason = ''] = (error as Error).message.split(/:?\n/)
    throw new UsageError(`${file}, given with --config, cannot be read: ${reason}`)
  }
}
