import { bootstrap, bootstrapJson } from '../../envoy/bootstrap/bootstrap.ts'
import { type DecidedConfig, decideForEnvoy, withClientAddress } from '../clientaddress.ts'
import type { Config } from '../options.ts'

export async function printBootstrap(config: Config): Promise<void> {
  process.stdout.write(
    `${JSON.stringify(bootstrapJson(bootstrap(bootstrapOptions(withClientAddress(config, decideForEnvoy(config))))), undefined, 2)}\n`,
  )
}

export function bootstrapOptions(config: DecidedConfig) {
  return {
    node: config.nodeName,
    sockets: config.envoySockets,
    adminPort: config.adminPort,
    mark: config.envoyMark,
    clientAddress: config.clientAddress,
    hasModule: config.envoyModule,
    heapBytes: config.envoyHeap * 1024 ** 2,
  }
}
