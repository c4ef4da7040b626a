/** Defines the values of options: how each is shown in --help, read, and described when it is wrong. */

import { canonicalIp, isPortNumber } from '../../net/address.ts'
import { canonicalCidr } from '../../net/cidr.ts'
import type { TcpAddress } from '../../observe/http.ts'
import { parseDuration } from '../../services/settings/duration.ts'
import type { HostPort } from '../../sources/controlplane/replicas/addresses.ts'
import type { ServiceName } from '../../sources/controlplane/replicas/serviceendpoints.ts'

export interface Shape<T> {
  readonly placeholder: string
  /** Reads the value from the text of a flag or of a YAML scalar; undefined when it is none of what `accepts` says. */
  readonly parse: (text: string) => T | undefined
  readonly accepts: string
}

export type BindAddress = TcpAddress | 'none'

export const portNumber: Shape<number> = {
  placeholder: 'PORT',
  parse: text => (/^\d{1,5}$/.test(text) && isPortNumber(Number(text)) ? Number(text) : undefined),
  accepts: 'a port number from 1 to 65535',
}

/** Of a port that is used together with the next one. */
export const portPair: Shape<number> = {
  placeholder: 'PORT',
  parse: text => {
    const port = portNumber.parse(text)
    return port === 65_535 ? undefined : port
  },
  accepts: 'a port number from 1 to 65534',
}

export const markBit: Shape<number> = {
  placeholder: 'MARK',
  parse: text => {
    const value = /^(0x[0-9a-f]{1,8}|\d{1,10})$/i.test(text) ? Number(text) : 0
    return value > 0 && value <= 0x80000000 && Number.isInteger(Math.log2(value)) ? value : undefined
  },
  accepts: 'a single bit of the packet mark, such as 0x1000',
}

export const hex = (value: number) => `0x${value.toString(16)}`

export const duration: Shape<number> = {
  placeholder: 'DURATION',
  parse: text => parseDuration(text),
  accepts: 'a duration such as 500ms, 30s or 10m',
}

/** Of first bytes; the range is that of the setting (services/settings/definitions.ts). */
export const silence: Shape<number> = {
  placeholder: 'DURATION',
  parse: text => {
    const ms = parseDuration(text)
    return ms !== undefined && ms >= 100 && ms <= 15_000 ? ms : undefined
  },
  accepts: 'a duration from 100ms to 15s',
}

/** Nobody reads more than 10,000 lines, 5 MB. */
export const lineRate: Shape<number> = {
  placeholder: 'NUMBER',
  parse: text => (/^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 10_000 ? Number(text) : undefined),
  accepts: 'a number from 1 to 10000',
}

export const onOff: Shape<boolean> = {
  placeholder: 'on|off',
  parse: value => (value === 'on' || value === 'off' ? value === 'on' : undefined),
  accepts: 'on or off',
}

export const interfaceName: Shape<string> = {
  placeholder: 'NAME',
  parse: value => (/^[^\s/"*]{1,15}$/.test(value) ? value : undefined),
  accepts: 'the name of a network interface, or its beginning',
}

/** @param keywords may stand among CIDRs, each for these */
export function ranges(keywords: Readonly<Record<string, readonly string[]>> = {}): Shape<readonly string[]> {
  const read = (part: string) => (Object.hasOwn(keywords, part) ? keywords[part] : canonicalCidr(part))
  const words = Object.keys(keywords)
  return {
    placeholder: 'CIDRS',
    parse: value => {
      const parts = value.split(',').flatMap(part => read(part.trim()))
      return parts.includes(undefined) ? undefined : [...new Set(parts as string[])]
    },
    accepts: `${words.length === 0 ? '' : `${words.join(', ')} or `}a list of CIDRs such as 10.0.0.0/8,fd00::/8`,
  }
}

export const count: Shape<number> = {
  placeholder: 'NUMBER',
  parse: value => (/^\d{1,9}$/.test(value) ? Number(value) : undefined),
  accepts: 'a whole number from 0 to 999999999',
}

export const countOrAll: Shape<number | 'all'> = {
  placeholder: 'NUMBER|all',
  parse: value => (value === 'all' ? 'all' : count.parse(value)),
  accepts: `${count.accepts}, or all`,
}

export const userId: Shape<number> = {
  placeholder: 'UID',
  parse: value => (/^\d{1,9}$/.test(value) && Number(value) > 0 ? Number(value) : undefined),
  accepts: 'a number from 1 to 999999999',
}

export const yesOrNo: Shape<boolean> = {
  placeholder: 'true|false',
  parse: value => (value === 'true' ? true : value === 'false' ? false : undefined),
  accepts: 'true or false',
}

export const percentage: Shape<number> = {
  placeholder: 'PERCENT',
  parse: value => (/^\d{1,3}$/.test(value) && Number(value) <= 100 ? Number(value) : undefined),
  accepts: 'a number from 0 to 100',
}

export const text: Shape<string> = { placeholder: 'TEXT', parse: value => value || undefined, accepts: 'a text' }
export const names: Shape<readonly string[]> = {
  placeholder: 'NAMES',
  parse: value => {
    const parts = value.split(',').map(part => part.trim())
    return parts.includes('') ? undefined : parts
  },
  accepts: 'a list of names such as a,b',
}
/** `HOST:PORT,…`; IPv6 addresses stand in brackets. */
export const hostPorts: Shape<readonly HostPort[]> = {
  placeholder: 'HOST:PORT,...',
  parse: value => {
    const parts = value.split(',').map(part => parseHostPort(part.trim()))
    return parts.includes(undefined) ? undefined : (parts as HostPort[])
  },
  accepts: 'a list of hosts with ports such as 127.0.0.1:9444,127.0.0.1:9445',
}

function parseHostPort(value: string): HostPort | undefined {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:\s]+)):(\d{1,5})$/.exec(value) ?? []
  const host = bracketed ?? plain
  return host !== undefined && isPortNumber(Number(port)) ? { host, port: Number(port) } : undefined
}

export const serviceName: Shape<ServiceName> = {
  placeholder: 'NAMESPACE/NAME',
  parse: value => {
    const [, namespace, name] = /^([a-z0-9-]+)\/([a-z0-9-]+)$/.exec(value) ?? []
    return namespace !== undefined && name !== undefined ? { namespace, name } : undefined
  },
  accepts: 'a namespace and a name such as lightpath-system/lightpath-controlplane',
}

export const path: Shape<string> = { ...text, placeholder: 'PATH', accepts: 'a path' }

export function oneOf<T extends string>(...values: readonly T[]): Shape<T> {
  return { placeholder: values.join('|'), parse: value => values.find(v => v === value), accepts: values.join(' or ') }
}

/** `0.0.0.0:10256`, `[::]:10256`, or an address alone; `none` for no server. */
export function bindAddress(usualPort: number): Shape<BindAddress> {
  return {
    placeholder: 'ADDRESS:PORT',
    parse: value => (value === 'none' ? 'none' : parseBindAddress(value, usualPort)),
    accepts: `an address with a port such as 0.0.0.0:${usualPort} or [::]:${usualPort}, or none`,
  }
}

/** As `bindAddress`, where there has to be a server. */
export function socketAddress(usualPort: number): Shape<TcpAddress> {
  return {
    placeholder: 'ADDRESS:PORT',
    parse: value => parseBindAddress(value, usualPort),
    accepts: `an address with a port such as 127.0.0.1:${usualPort} or [::1]:${usualPort}`,
  }
}

function parseBindAddress(value: string, usualPort: number): TcpAddress | undefined {
  const [, bracketed, plain, port] = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d{1,5}))?$/.exec(value) ?? []
  const address = canonicalIp(bracketed ?? plain ?? value)
  const number = port === undefined ? usualPort : Number(port)
  return address !== undefined && isPortNumber(number) ? { address, port: number } : undefined
}
