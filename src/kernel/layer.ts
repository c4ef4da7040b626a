/** What the agent asks of the kernel layer, whichever program of the system writes it. */

import type { KernelTables } from './table.ts'

export type KernelLayer = Pick<
  KernelTables,
  | 'start'
  | 'synced'
  | 'setPort'
  | 'removePort'
  | 'setOverlay'
  | 'clearOverlay'
  | 'dropInheritedOverlay'
  | 'snapshot'
  | 'totals'
  | 'settled'
  | 'close'
>
