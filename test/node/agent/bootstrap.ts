/** Envoy's bootstrap for tests: as `lightpath bootstrap` prints it, but for what they change. */

import { writeFileSync } from 'node:fs'
import * as commandLines from '../../../src/lab/command-lines.ts'
import { run } from '../../../src/lab/processes.ts'

export interface BootstrapOptions {
  /** More flags of `lightpath bootstrap`. */
  readonly bootstrapFlags?: readonly string[]
  /** Changes Envoy's bootstrap before it is written. */
  readonly bootstrap?: (bootstrap: Bootstrap) => void
}

/** The part of Envoy's bootstrap that tests change. */
export interface Bootstrap {
  readonly staticResources: { readonly listeners: object[] }
  readonly dynamicResources: { readonly adsConfig: { readonly grpcServices: readonly [GrpcService] } }
}

interface GrpcService {
  readonly envoyGrpc: { readonly retryPolicy: { retryBackOff: object } }
}

export async function writeBootstrap(
  file: string,
  sockets: Parameters<typeof commandLines.bootstrap>[1],
  { bootstrap: change, bootstrapFlags = [] }: BootstrapOptions,
): Promise<void> {
  const [command, ...args] = commandLines.bootstrap('node1', sockets, '--envoy-module', 'on', ...bootstrapFlags)
  const { stdout } = await run(command, args)
  const bootstrap = JSON.parse(stdout) as Bootstrap
  // Waiting up to 5 s for Envoy to look for the agent again would be most of the time that these tests take.
  const { retryPolicy } = bootstrap.dynamicResources.adsConfig.grpcServices[0].envoyGrpc
  retryPolicy.retryBackOff = { baseInterval: '0.2s', maxInterval: '0.5s' }
  change?.(bootstrap)
  writeFileSync(file, JSON.stringify(bootstrap))
}
