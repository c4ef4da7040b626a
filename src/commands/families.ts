import { existsSync } from 'node:fs'
import type { IpFamily } from '../services/address.ts'
import type { Config } from './options.ts'

/** A node whose kernel has IPv6 switched off serves IPv4 alone, unless IPv6 was asked for by name. */
export function familiesOf({ families }: Pick<Config, 'families'>): readonly IpFamily[] {
  if (families === 'dual') return existsSync('/proc/net/if_inet6') ? ['IPv4', 'IPv6'] : ['IPv4']
  return families === 'ipv4' ? ['IPv4'] : ['IPv6']
}
