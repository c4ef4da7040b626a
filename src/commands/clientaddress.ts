import { release } from 'node:os'
import { backendOf } from '../kernel/backends.ts'
import { externalObstacles } from '../node/externalobstacles.ts'
import { type ClientAddressChoice, chooseClientAddress, forwarded } from '../node/probes/clientaddress.ts'
import type { ExternalObstacles } from '../plan/ports/layer.ts'
import { type ClientAddress, hasPortRange } from '../services/settings/clientaddress.ts'
import { familiesOf } from './families.ts'
import type { Config } from './options.ts'

/** A configuration in which `auto` has been decided. */
export type DecidedConfig = Config & { readonly clientAddress: ClientAddress }

export function withClientAddress(config: Config, clientAddress: ClientAddress): DecidedConfig {
  return { ...config, clientAddress }
}

/** The obstacles for Services that are examined apart from the agent of a node. */
export function obstaclesFor({ proxyMode, clientAddress: mode }: DecidedConfig): ExternalObstacles {
  return externalObstacles({ backend: backendOf(proxyMode), clientAddress: { mode, why: `--client-address ${mode}` } })
}

/** Decides for the agent of this node, as it starts; where it looks for a proof, this may change. */
export async function decideForNode(config: Config): Promise<ClientAddressChoice> {
  const against = config.clientAddress === 'auto' ? settingAgainst(config) : undefined
  if (against !== undefined) return forwarded(`${against} needs the node's address`)
  return chooseClientAddress(config.clientAddress, familiesOf(config))
}

/** Whether the agent looks for a proof that the client's address works. */
export function looksForProof(config: Config): boolean {
  return config.clientAddress === 'auto' && settingAgainst(config) === undefined
}

function settingAgainst({ masqueradeAll, proxyMode }: Config): string | undefined {
  if (!backendOf(proxyMode).capabilities.preservesClient) return `--proxy-mode ${proxyMode}`
  return masqueradeAll ? '--masquerade-all' : undefined
}

/** Decides for this node's Envoy, which may then do both. */
export function decideForEnvoy({ clientAddress: setting }: Config): ClientAddress {
  if (setting !== 'auto') return setting
  return hasPortRange(release()) ? 'preserve' : 'forwarded-for'
}
