/** Decides whether a node can serve external clients through Envoy. */

import type { KernelBackend } from '../kernel/backend.ts'
import type { ExternalObstacles } from '../plan/ports/layer.ts'
import type { ClientAddressChoice } from './probes/clientaddress.ts'

/** externalTrafficPolicy Local keeps the client's address, and so must Envoy. */
export function externalObstacles({
  backend: { name, capabilities },
  clientAddress: { mode, why },
}: {
  readonly backend: Pick<KernelBackend, 'name' | 'capabilities'>
  readonly clientAddress: Pick<ClientAddressChoice, 'mode' | 'why'>
}): ExternalObstacles {
  if (!capabilities.servesExternal) {
    const reason = `--proxy-mode ${name} serves nothing that comes from outside`
    return { Cluster: reason, Local: reason }
  }
  if (mode === 'preserve') return {}
  return { Local: `externalTrafficPolicy is Local, and Envoy of this node does not keep the client's address (${why})` }
}
