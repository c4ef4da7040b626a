/** Whether a node can lead what comes from outside through Envoy. */

import type { ProxyMode } from '../kernel/layer.ts'
import type { OutsideObstacles } from '../plan/ports/layer.ts'
import type { ClientAddressChoice } from './probes/clientaddress.ts'

/** externalTrafficPolicy Local keeps the client's address, and so must Envoy. */
export function outsideObstacles({
  proxyMode,
  clientAddress: { mode, why },
}: {
  readonly proxyMode: ProxyMode
  readonly clientAddress: Pick<ClientAddressChoice, 'mode' | 'why'>
}): OutsideObstacles {
  if (proxyMode === 'iptables') {
    const reason = '--proxy-mode iptables serves nothing that comes from outside'
    return { Cluster: reason, Local: reason }
  }
  if (mode === 'preserve') return {}
  return { Local: `externalTrafficPolicy is Local, and Envoy of this node does not keep the client's address (${why})` }
}
