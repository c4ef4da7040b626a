/** What is measured of a control plane that serves many nodes. */

import type { CpuTimes } from '../../lab/cpu.ts'
import type { Size } from '../../lab/generate.ts'
import type { Memory } from '../../lab/node.ts'
import type { Delays } from './changes.ts'
import type { Told } from './fleet.ts'

export interface ServingOptions extends Size {
  readonly agents: number
  /** How often all connect, each time to a control plane that is new. */
  readonly rounds: number
  /** Changes one after the other. */
  readonly single: number
  readonly churn: {
    /** Changes a second. */
    readonly rate: number
    readonly seconds: number
  }
}

/** Of one time that all connect. */
export interface Connecting {
  readonly told: Told
  /** The control plane's own start, seconds. */
  readonly started: number
  readonly before: Memory
  /** Once all have everything; its peak is that of connecting, too. */
  readonly after: Memory
  /** Seconds, meanwhile. */
  readonly cpu: CpuTimes
}

/** How long changes take. */
export interface Propagation extends Delays {
  /** Until each is in the real agent's kernel layer. */
  readonly kernel: readonly number[]
}

export interface Serving {
  readonly connecting: readonly Connecting[]
  readonly single: Propagation
  readonly churn: Propagation & {
    /** Changes a second that there were. */
    readonly rate: number
    /** The control plane's. */
    readonly memory: Memory
    /** Cores. */
    readonly cpu: CpuTimes
  }
}
