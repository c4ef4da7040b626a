/** What is measured of Services of different endpoints, as data. */

import type { VariantId } from '../../lab/variants.ts'

export interface ServicesOptions {
  /** By a name for people. */
  readonly cases: Readonly<Record<string, Case>>
  /** Of one load. */
  readonly seconds: number
  readonly rounds: number
}

export interface Case {
  readonly endpoints: readonly Endpoints[]
  readonly variants: readonly VariantId[]
  /** What the others are compared with, round by round. */
  readonly base: VariantId
  /** Requests a second, or a part of as many as the base can answer. */
  readonly rate: number | { readonly partOfSaturation: number }
  readonly connections: number
  readonly circumstance?: Circumstance
  /**
   * Seconds of a load, of which a round has several then, the variants in turns: where what a request takes drifts with the
   * machine. Default: a round has one load of all its seconds.
   */
  readonly turn?: number
  /** Of one variant. */
  readonly aims?: { readonly of: VariantId; readonly most: readonly Aim[] }
}

/** Loads of each variant, and how long each is. */
export function loadsOf({ turn }: Case, { rounds, seconds }: ServicesOptions) {
  const each = turn === undefined ? 1 : Math.round(seconds / turn)
  return { eachRound: each, all: rounds * each, seconds: turn ?? seconds }
}

/**
 * Under which the load runs: from Envoy's start on, without a load before that nobody counts; while an endpoint leaves and one
 * comes twice a second; while other programs want all cores.
 */
export type Circumstance = 'start' | 'changes' | 'busy machine'

/** Servers, each so often as it says. Durations as Go writes them: 5ms. */
export interface Endpoints {
  readonly count: number
  /** In another zone than the clients, where they are not to go by the Service's topology; default in theirs. */
  readonly isElsewhere?: boolean
  /** Before each answer. */
  readonly delay?: string
  /** Requests at a time; the others wait. */
  readonly workers?: number
  /** Stands still so long, so often. */
  readonly stall?: string
  readonly every?: string
}

/** The most that a figure is to be, as a part of the base's. */
export interface Aim {
  readonly figure: FigureName
  readonly most: number
}

/** `cpu`: Envoy's CPU time a request. */
export type FigureName = 'mean' | 'p99' | 'p99.9' | 'cpu'
