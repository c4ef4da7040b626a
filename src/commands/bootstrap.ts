import { existsSync } from 'node:fs'
import { bootstrap, bootstrapJson } from '../envoy/bootstrap.ts'
import type { IpFamily } from '../services/address.ts'
import { type DecidedConfig, decideForEnvoy, withClientAddress } from './clientaddress.ts'
import type { Config } from './options.ts'

export async function printBootstrap(config: Config): Promise<void> {
  process.stdout.write(
    `${JSON.stringify(bootstrapJson(bootstrap(bootstrapOptions(withClientAddress(config, decideForEnvoy(config))))), undefined, 2)}\n`,
  )
}

export function bootstrapOptions(config: DecidedConfig) {
  return {
    node: config.nodeName,
    xds: { host: config.xdsAddress, port: config.xdsPort },
    adminPort: config.adminPort,
    canaryPort: config.canaryPort,
    mark: config.envoyMark,
    clientAddress: config.clientAddress,
  }
}

/** A node whose kernel has IPv6 switched off serves IPv4 alone, unless IPv6 was asked for by name. */
export function familiesOf({ families }: Pick<Config, 'families'>): readonly IpFamily[] {
  if (families === 'dual') return existsSync('/proc/net/if_inet6') ? ['IPv4', 'IPv6'] : ['IPv4']
  return families === 'ipv4' ? ['IPv4'] : ['IPv6']
}
