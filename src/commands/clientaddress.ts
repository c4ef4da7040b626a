import { release } from 'node:os'
import { type ClientAddressChoice, chooseClientAddress } from '../node/clientaddress.ts'
import { outsideObstacles } from '../node/outside.ts'
import { type ClientAddress, hasPortRange } from '../services/clientaddress.ts'
import type { OutsideObstacles } from '../services/layer.ts'
import type { Config } from './options.ts'

/** A configuration in which `auto` has been decided. */
export type DecidedConfig = Config & { readonly clientAddress: ClientAddress }

export function withClientAddress(config: Config, clientAddress: ClientAddress): DecidedConfig {
  return { ...config, clientAddress }
}

/** For Services that are looked at apart from the agent of a node. */
export function obstaclesFor({ redirect, clientAddress: mode }: DecidedConfig): OutsideObstacles {
  return outsideObstacles({ redirect, clientAddress: { mode, why: `--client-address ${mode}` } })
}

/** For the agent of this node. Settings that need the node's own address decide against the client's. */
export function decideForNode(config: Config): Promise<ClientAddressChoice> | ClientAddressChoice {
  const { clientAddress: setting, masqueradeAll, redirect } = config
  const against = redirect === 'iptables' ? '--redirect iptables' : masqueradeAll ? '--masquerade-all' : undefined
  if (setting !== 'auto' || against === undefined) return chooseClientAddress(setting)
  return { setting, mode: 'forwarded-for', why: `--client-address auto, with ${against}` }
}

/** For this node's Envoy, which may then do both. */
export function decideForEnvoy({ clientAddress: setting }: Config): ClientAddress {
  if (setting !== 'auto') return setting
  return hasPortRange(release()) ? 'preserve' : 'forwarded-for'
}
