import { existsSync, readFileSync } from 'node:fs'
import type { IpFamily } from '../net/address.ts'
import type { Config } from './options.ts'

/**
 * A node whose kernel has IPv6 switched off, or has it off on lo, serves IPv4 alone, unless IPv6 was asked for by name.
 */
export function familiesOf({ families }: Pick<Config, 'families'>): readonly IpFamily[] {
  if (families === 'dual') return hasIPv6() ? ['IPv4', 'IPv6'] : ['IPv4']
  return families === 'ipv4' ? ['IPv4'] : ['IPv6']
}

/** IPv6 on lo, since a route over lo delivers what is redirected to Envoy. */
function hasIPv6(): boolean {
  if (!existsSync('/proc/net/if_inet6')) return false
  try {
    return readFileSync('/proc/sys/net/ipv6/conf/lo/disable_ipv6', 'utf8').trim() !== '1'
  } catch {
    return true
  }
}

/** The address to listen on for all of them. */
export function everyAddress(config: Pick<Config, 'families'>): string {
  return familiesOf(config).includes('IPv6') ? '::' : '0.0.0.0'
}
