/** What is measured by the number of Services. */

import type { ConnectReport } from '../../lab/programs.ts'
import type { ProxyKind, VariantId } from '../../lab/variants.ts'

export interface SizesOptions {
  readonly services: readonly number[]
  /** Of each of them. */
  readonly endpoints: number
  /** Of iptables only up to so many Services: its rules are loaded anew with all changes. */
  readonly mostForIptables: number
  /** Changes of the Service that is called, each some seconds after the other. */
  readonly changes: number
  /** How long rest and the changes of others are watched, seconds. */
  readonly watch: number
}

/** Of one proxy among so many Services. */
export interface Measured {
  /** From its start until a Service is served by it, seconds. */
  readonly started: number
  readonly processes: Readonly<Record<string, Costs>>
  readonly variants: Readonly<Partial<Record<VariantId, Served>>>
}

export interface Costs {
  /** Resident set, MB. */
  readonly memory: number
  /** Thousandths of a core. */
  readonly rest: number
  readonly churn: number
}

export interface Served {
  readonly connect: ConnectReport
  /** From the API server's answer, milliseconds: first request at the new endpoint, last at the old one. */
  readonly first: readonly number[]
  readonly last: readonly number[]
}

/** Each on a node of its own, in this order. */
export const kinds: readonly ProxyKind[] = ['nftables', 'iptables', 'lightpath']

/** Changes of others a second. */
export const churnRate = 100
