/**
 * Packs what a maintainer asks for into one archive: the agent's configuration (flags and file, where it lives),
 * status, Services and port states, metrics, its last lines of log, the last Events; Envoy's configuration, clusters
 * and statistics; our nftables tables, iptables rules and ipsets, the routing rules, settings of the kernel; versions.
 * Whoever is dead is left out, and the archive and the output say so.
 *
 * It holds no secrets: the kubeconfig, tokens, certificates and the environment are not read at all; texts that may
 * hold some (header values in Envoy's configuration, messages with URLs) go through `withoutSecrets`. Envoy's log stays
 * where the node's supervisor keeps it. Names and addresses of Services, pods and nodes are in it.
 */

import { readFileSync, writeFileSync } from 'node:fs'
import { release } from 'node:os'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import packageJson from '../../../package.json' with { type: 'json' }
import { adminPage } from '../../envoy/program/admin.ts'
import { adminSocket, type Instance, type UnixAddress } from '../../envoy/program/sockets.ts'
import { backends } from '../../kernel/backends.ts'
import { listLinks } from '../../kernel/netlink/route/links.ts'
import { listRoutes, routeText } from '../../kernel/netlink/route/routes.ts'
import { listRules } from '../../kernel/netlink/route/rules.ts'
import { withSocket } from '../../kernel/netlink/socket.ts'
import type { IpFamily } from '../../net/address.ts'
import { envoySockets } from '../../node/system/socketdirectory.ts'
import { askAgent, askAgentText } from '../agent.ts'
import type { Config } from '../options.ts'
import { withoutSecrets } from './secrets.ts'
import { tar } from './tar.ts'

/** Throws an Error that says why there is no such text. */
type Page = readonly [file: string, read: () => Promise<string>]

export async function dump(config: Config, file: unknown): Promise<void> {
  const asked = await askAgent<Config>(config.socket, '/config')
  // The flags of the agent are not those of this command.
  const agentConfig = asked.kind === 'answer' ? asked.value : config
  const time = new Date()
  const directory = `lightpath-${agentConfig.nodeName}-${time.toISOString().replace(/[:.]\d+Z$|[-:]/g, '')}`
  const target = typeof file === 'string' ? file : `${directory}.tar.gz`

  const files = new Map<string, string>()
  const missing: string[] = []
  const envoys = await envoyPages(agentConfig)
  for (const [name, read] of [...agentPages(config), ...envoys, ...kernelPages(agentConfig)]) {
    try {
      files.set(name, withoutSecrets(await read()))
    } catch (error) {
      missing.push(`${name}: ${withoutSecrets((error as Error).message)}`)
    }
  }
  files.set(
    'versions.json',
    JSON.stringify({ lightpath: packageJson.version, kernel: release(), node: process.version }),
  )
  files.set('missing.txt', missing.map(line => `${line}\n`).join('') || 'nothing\n')

  const content = [...files].map(([name, text]) => ({ name: `${directory}/${name}`, content: Buffer.from(text) }))
  const archive = await promisify(gzip)(tar(content, time))
  for (const line of missing) process.stderr.write(`missing: ${line}\n`)
  if (target === '-') {
    process.stdout.write(archive)
    return
  }
  writeArchive(target, archive)
  process.stdout.write(`${target}\n`)
}

/** @throws Error with where else it can go */
function writeArchive(target: string, archive: Buffer): void {
  try {
    writeFileSync(target, archive, { mode: 0o600 })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new Error(`${target} cannot be written (${code}); give another place with --file, or - for standard output`)
  }
}

function agentPages({ socket }: Config): readonly Page[] {
  const paths = {
    'config.json': '/config',
    'status.json': '/status',
    'services.json': '/services',
    'states.json': '/states',
    'metrics.txt': '/metrics',
    'log.jsonl': '/log',
    'events.jsonl': '/events',
  }
  return pages('agent', paths, async path => {
    const answer = await askAgentText(socket, path)
    if (answer.kind === 'answer') return answer.value
    throw new Error(answer.kind === 'dead' ? answer.reason : answer.message)
  })
}

/** Reads the second Envoy, too, where there is one. */
async function envoyPages(config: Config): Promise<readonly Page[]> {
  const at = (instance: Instance) => adminSocket(envoySockets(config), instance)
  const hasSecond = (await adminPage(at(2), '/server_info')) !== undefined
  return [...pagesOf('envoy', at(1)), ...(hasSecond ? pagesOf('envoy-2', at(2)) : [])]
}

function pagesOf(folder: string, socket: UnixAddress): readonly Page[] {
  const paths = {
    'config_dump.json': '/config_dump?include_eds',
    'clusters.txt': '/clusters',
    'listeners.txt': '/listeners',
    'stats.txt': '/stats?usedonly',
    'server_info.json': '/server_info',
  }
  return pages(folder, paths, async path => {
    const text = await adminPage(socket, path)
    if (text === undefined) throw new Error(`Envoy does not answer ${path} on ${socket.path}`)
    return text
  })
}

/** @param paths paths by the name of the file in the folder */
function pages(
  folder: string,
  paths: Readonly<Record<string, string>>,
  read: (path: string) => Promise<string>,
): readonly Page[] {
  return Object.entries(paths).map(([file, path]) => [`${folder}/${file}`, () => read(path)])
}

function kernelPages({ routeTable }: Config): readonly Page[] {
  const perFamily = (['ip', 'ip6'] as const).flatMap((family): readonly Page[] => {
    const ipFamily = family === 'ip' ? 'IPv4' : 'IPv6'
    return [
      [`kernel/rules-${family}.txt`, async () => rulesText(ipFamily)],
      [`kernel/routes-${family}.txt`, async () => routesText(ipFamily, routeTable)],
    ]
  })
  const ofBackends = backends.flatMap(({ dump }) => dump.map(([file, read]): Page => [`kernel/${file}`, read]))
  return [...perFamily, ...ofBackends, ['kernel/sysctls.txt', async () => sysctls.map(sysctlLine).join('')]]
}

/** The kernel's settings that decide what we do, by their path below /proc/sys. */
const sysctls = [
  ...['net/ipv4/ip_forward', 'net/ipv6/conf/all/forwarding', 'net/ipv4/conf/all/rp_filter'],
  ...['net/ipv4/conf/default/rp_filter', 'net/ipv4/conf/all/route_localnet', 'net/ipv4/conf/all/src_valid_mark'],
  ...['net/ipv4/ip_local_port_range', 'net/ipv4/ip_local_reserved_ports', 'net/ipv4/tcp_migrate_req'],
  ...['net/bridge/bridge-nf-call-iptables', 'net/netfilter/nf_conntrack_max', 'net/netfilter/nf_conntrack_count'],
  ...['net/netfilter/nf_conntrack_buckets', 'net/netfilter/nf_conntrack_tcp_be_liberal'],
  ...['net/netfilter/nf_conntrack_tcp_timeout_established', 'net/netfilter/nf_conntrack_tcp_timeout_close_wait'],
  ...['net/netfilter/nf_conntrack_udp_timeout', 'net/netfilter/nf_conntrack_udp_timeout_stream'],
]

function sysctlLine(name: string): string {
  try {
    return `${name.replaceAll('/', '.')} = ${readFileSync(`/proc/sys/${name}`, 'utf8')}`
  } catch (error) {
    return `${name.replaceAll('/', '.')}: ${(error as NodeJS.ErrnoException).code}\n`
  }
}

function rulesText(family: IpFamily): string {
  return withSocket('route', {}, socket => linesOf(listRules(socket, family).map(({ text }) => text)))
}

function routesText(family: IpFamily, table: number): string {
  return withSocket('route', {}, socket => {
    const names = new Map(listLinks(socket).map(({ index, name }) => [index, name]))
    const nameOf = (index: number) => names.get(index) ?? `interface ${index}`
    return linesOf(listRoutes(socket, family, table).map(route => routeText(route, nameOf)))
  })
}

function linesOf(lines: readonly string[]): string {
  return lines.map(line => `${line}\n`).join('')
}
