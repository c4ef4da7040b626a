/** What the agent asks of the kernel layer, whichever program of the system writes it. */

import type { KernelTables } from './table.ts'

/** nftables: table.ts; iptables: iptables/layer.ts. */
export const redirects = ['nftables', 'iptables'] as const
export type Redirect = (typeof redirects)[number]

export type KernelLayer = Pick<
  KernelTables,
  | 'start'
  | 'synced'
  | 'setNode'
  | 'setServiceRanges'
  | 'setPort'
  | 'removePort'
  | 'setOverlay'
  | 'setKernelClients'
  | 'clearOverlay'
  | 'dropInheritedOverlay'
  | 'snapshot'
  | 'totals'
  | 'settled'
  | 'close'
>
