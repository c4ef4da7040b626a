/**
 * Settings of the node's kernel that Services need: conntrack's, as kube-proxy sets them (pkg/proxy/conntrack), the
 * local ports that Envoy takes with the client's address, and what lets one Envoy follow another. What cannot be
 * written is reported and harms nothing else.
 */

import { readFileSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'

export interface ConntrackOptions {
  /** Entries of the table for each core; 0 leaves the size alone, whatever the minimum. */
  readonly conntrackMaxPerCore: number
  readonly conntrackMin: number
  /** Milliseconds; 0 leaves a time-out alone. */
  readonly conntrackTcpTimeoutEstablished: number
  readonly conntrackTcpTimeoutCloseWait: number
  readonly conntrackUdpTimeout: number
  readonly conntrackUdpTimeoutStream: number
  /** Takes packets outside the TCP window for valid; false leaves it alone. */
  readonly conntrackTcpBeLiberal: boolean
}

interface KernelSetting {
  /** `net.ipv4.ip_local_port_range`; a path for what is no sysctl. */
  readonly name: string
  /** The values that it needs, given those that it has: the same where they suffice. */
  readonly wanted: (current: readonly number[]) => readonly number[]
  /** Older kernels do without. */
  readonly optional?: boolean
}

/** A setting that is not as it has to be, and why. */
interface UnmetSetting {
  readonly name: string
  readonly wanted: string
  readonly reason: string
}

/** A million entries take about 320 MB. */
const mostEntries = 1_048_576
/** Entries for each bucket of conntrack's hash table. */
const entriesPerBucket = 4

export function conntrackSettings(options: ConntrackOptions, cores: number): readonly KernelSetting[] {
  const timeouts = {
    tcp_timeout_established: options.conntrackTcpTimeoutEstablished,
    tcp_timeout_close_wait: options.conntrackTcpTimeoutCloseWait,
    udp_timeout: options.conntrackUdpTimeout,
    udp_timeout_stream: options.conntrackUdpTimeoutStream,
  }
  const set = Object.entries(timeouts).filter(([, milliseconds]) => milliseconds > 0)
  return [
    ...sizes(options, cores),
    ...set.map(([name, milliseconds]) =>
      exactly(`net.netfilter.nf_conntrack_${name}`, Math.floor(milliseconds / 1000)),
    ),
    ...(options.conntrackTcpBeLiberal ? [exactly('net.netfilter.nf_conntrack_tcp_be_liberal', 1)] : []),
  ]
}

function sizes(options: ConntrackOptions, cores: number): readonly KernelSetting[] {
  const { conntrackMaxPerCore: perCore, conntrackMin: min } = options
  if (perCore === 0) return []
  const entries = perCore * cores > mostEntries ? mostEntries : Math.max(perCore * cores, min)
  return [
    atLeast('net.netfilter.nf_conntrack_max', entries),
    atLeast('/sys/module/nf_conntrack/parameters/hashsize', Math.floor(entries / entriesPerBucket)),
  ]
}

/** Widens the range of local ports from `first`, where Envoy's own begin, to the last. It is never made narrower. */
export function localPorts(first: number): KernelSetting {
  return {
    name: 'net.ipv4.ip_local_port_range',
    wanted: ([low = first, high = 0]) => [Math.min(low, first), Math.max(high, 65535)],
  }
}

/**
 * Where one of several sockets that listen on a port is closed, another takes the connections that wait there; without,
 * they are reset. Linux 5.14: https://docs.kernel.org/networking/ip-sysctl.html
 */
export const requestMigration: KernelSetting = { ...exactly('net.ipv4.tcp_migrate_req', 1), optional: true }

/** Whether Linux does so here. */
export function migratesRequests(): boolean {
  try {
    return readFileSync(fileOf(requestMigration.name), 'utf8').trim() === '1'
  } catch {
    return false
  }
}

function atLeast(name: string, value: number): KernelSetting {
  return { name, wanted: ([current = 0]) => [Math.max(current, value)] }
}

function exactly(name: string, value: number): KernelSetting {
  return { name, wanted: () => [value] }
}

/** Writes the settings that are not as they have to be. Resolves to those that are still not. */
export async function applySettings(settings: readonly KernelSetting[]): Promise<readonly UnmetSetting[]> {
  const unmet = await Promise.all(settings.map(apply))
  return unmet.filter(setting => setting !== undefined)
}

async function apply({ name, wanted, optional }: KernelSetting): Promise<UnmetSetting | undefined> {
  const file = fileOf(name)
  let [current, value]: (string | undefined)[] = []
  try {
    current = numbersIn(await readFile(file, 'utf8')).join(' ')
    value = wanted(numbersIn(current)).join(' ')
    if (value !== current) await writeFile(file, value)
    return undefined
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (optional && code === 'ENOENT') return undefined
    return { name, wanted: value ?? wanted([]).join(' '), reason: `${current ?? 'unknown'}, ${code ?? message}` }
  }
}

function numbersIn(text: string): readonly number[] {
  return (text.match(/\d+/g) ?? []).map(Number)
}

function fileOf(name: string): string {
  return name.startsWith('/') ? name : `/proc/sys/${name.replaceAll('.', '/')}`
}

/** Prints the command that a person sets these with. */
export function commandFor(unmet: readonly UnmetSetting[]): string {
  return unmet
    .map(({ name, wanted }) =>
      name.startsWith('/')
        ? `echo ${wanted} > ${name}`
        : `sysctl -w ${name}=${wanted.includes(' ') ? `"${wanted}"` : wanted}`,
    )
    .join(' && ')
}
