/**
 * The life of a frontend in Envoy. New connections go to the kernel layer in every state but `inherited` and
 * `promoted`.
 *
 * | state         | Envoy |
 * | ------------- | ----- |
 * | `absent`      | has nothing of it |
 * | `queued`      | is to get it, in its turn and at the pace of its namespace |
 * | `inherited`   | a previous run of the agent promoted it; Envoy has not listed yet what it has |
 * | `propagating` | got it, and has not acknowledged all of it, or takes no connections |
 * | `settling`    | has acknowledged all of it, which some of its workers may not have yet |
 * | `promoted`    | serves it |
 * | `relocating`  | has it at other addresses or listeners, until the kernel redirects nothing there |
 * | `demoted`     | has it as it was, until the kernel redirects nothing there |
 * | `draining`    | has it for the connections that are open |
 * | `closing`     | ends each of those connections with its next answer |
 *
 * | event          | |
 * | -------------- | --- |
 * | `wanted`       | the plan has it in Envoy, where the kernel and Envoy may have it now |
 * | `published`    | it was published to Envoy |
 * | `resumed`      | likewise, and the kernel redirects it since a previous run |
 * | `acknowledged` | each Envoy that takes connections has all that it needs for it |
 * | `settled`      | and has had it for a while |
 * | `lost`         | some Envoy lacks a part of it, or none takes connections |
 * | `moved`        | the plan has it at other addresses or listeners than Envoy |
 * | `unwanted`     | the plan has it in the kernel layer alone, or no longer |
 * | `kernelSynced` | the kernel has it as planned, so nothing new is redirected that is not to be |
 * | `closed`       | its connections are to end: their time is over, or no endpoint is left |
 * | `quiet`        | no connection is left in Envoy |
 * | `dropped`      | it was never published and is no longer to be |
 */

import type { ResourceRef } from '../../envoy/resource.ts'
import type { Frontend, Observed } from '../../envoy/resources/frontend.ts'
import type { VipPort } from '../../kernel/overlay.ts'

type Event = (typeof events)[number]
export type State = keyof typeof transitions

export const events = [
  ...(['wanted', 'published', 'resumed', 'acknowledged', 'settled', 'lost', 'moved', 'unwanted'] as const),
  ...(['kernelSynced', 'closed', 'quiet', 'dropped'] as const),
] as const

/** Combinations that are not listed do nothing. */
export const transitions = {
  absent: { wanted: 'queued' },
  queued: {
    published: 'propagating',
    resumed: 'inherited',
    moved: 'relocating',
    unwanted: 'demoted',
    dropped: 'absent',
  },
  inherited: { acknowledged: 'promoted', lost: 'propagating', moved: 'relocating', unwanted: 'demoted' },
  propagating: { acknowledged: 'settling', moved: 'relocating', unwanted: 'demoted' },
  settling: { settled: 'promoted', lost: 'propagating', moved: 'relocating', unwanted: 'demoted' },
  promoted: { lost: 'propagating', moved: 'relocating', unwanted: 'demoted' },
  relocating: { wanted: 'queued', unwanted: 'demoted' },
  demoted: { wanted: 'queued', kernelSynced: 'draining' },
  draining: { wanted: 'queued', closed: 'closing', quiet: 'absent' },
  closing: { wanted: 'queued', quiet: 'absent' },
} as const satisfies Record<string, Readonly<Partial<Record<Event, string>>>>

export const redirectedStates: ReadonlySet<State> = new Set(['inherited', 'promoted'] as const)
const drainingStates: ReadonlySet<State> = new Set(['demoted', 'draining', 'closing'] as const)

/** What to publish of a frontend, and what that waits for. */
export interface Pending {
  readonly frontend: Frontend
  /** `turn`: other frontends are first; `kernel`: until `kernelSynced`. */
  readonly until: 'turn' | 'kernel'
  /** When the change came, by performance.now(); undefined where nobody asks how long it takes. */
  readonly arrived: number | undefined
}

/** What the kernel redirects to Envoy for a frontend, all at once, and what Envoy needs for it. */
export interface Redirect {
  readonly addresses: readonly VipPort[]
  readonly needs: readonly ResourceRef[]
}

/** How far the drain of a frontend is; times by performance.now(). */
export interface Drain {
  readonly since: number
  quietSince: number
  /** Envoy's last answer. */
  answers: number | undefined
  /** When its connections were told to end, since the drain time was over. */
  closedAt: number | undefined
}

/** One frontend, from the moment Envoy is to have it until Envoy has nothing of it. */
export class Lifecycle {
  readonly id: string
  pending: Pending | undefined
  /** As it is wanted, once its namespace may change so much (pace/changepace.ts). */
  later: Frontend | undefined
  observed: Observed | undefined
  redirect: Redirect | undefined
  /** When it entered state `settling`. */
  settlingSince = 0
  drain: Drain | undefined
  #state: State = 'absent'

  constructor(id: string) {
    this.id = id
  }

  get state(): State {
    return this.#state
  }

  /** Returns whether the event means anything in this state. */
  on(event: Event): boolean {
    const to: Readonly<Partial<Record<Event, State>>> = transitions[this.#state]
    const next = to[event]
    if (next === undefined) return false
    this.#state = next
    return true
  }

  /** Whether new connections are to go to Envoy. */
  get isRedirected(): boolean {
    return redirectedStates.has(this.#state)
  }

  /** Whether Envoy has it for its open connections alone. */
  get isDraining(): boolean {
    return drainingStates.has(this.#state)
  }
}
