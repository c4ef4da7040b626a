/** Joins a node to those that tell each other which endpoints are dead (controlplane/failures/). */

import { changesBetween, type Exclusion, Exclusions, nameOf } from '../../exclusions/exclusion.ts'
import type { Log } from '../../observe/log.ts'
import type { NodePlan } from '../../plan/nodeplan.ts'
import type { PlanUpdate } from '../../plan/update.ts'
import type { Source } from '../../sources/source.ts'
import { frontendsTo } from '../frontends.ts'
import { connectTo } from './connecting.ts'
import { Reachability } from './reachability.ts'

export class NodeExclusions {
  readonly reachability: Reachability
  readonly #plan: NodePlan
  readonly #source: Pick<Source, 'report'>
  readonly #log: Log
  #all: readonly Exclusion[] = []

  constructor(plan: NodePlan, source: Pick<Source, 'report'>, log: Log) {
    this.#plan = plan
    this.#source = source
    this.#log = log
    this.reachability = new Reachability({
      userOf: endpoint => userOf(endpoint, plan),
      connect: connectTo,
      onChange: sights => source.report?.(sights),
    })
  }

  /** Envoy or a pod gets no connection to the endpoint. Without anyone to tell that is for Envoy alone to see to. */
  suspect(endpoint: string): void {
    if (this.areShared) this.reachability.suspect(endpoint)
  }

  /** Whether this node tells others what it sees. */
  get areShared(): boolean {
    return this.#source.report !== undefined
  }

  /** Whether the endpoint would be looked at were it suspected, and is not yet. */
  maySuspect(endpoint: string): boolean {
    return !this.reachability.looksAt(endpoint) && userOf(endpoint, this.#plan) !== undefined
  }

  /** What others have found dead, and this node leaves out as far as its plan can spare it. */
  get all(): readonly Exclusion[] {
    return this.#all
  }

  counts(): readonly (readonly [of: Exclusion['of'], count: number])[] {
    return (['endpoint', 'node'] as const).map(of => [of, this.#all.filter(one => one.of === of).length])
  }

  /** Sets what others have found dead, in place of what they had. */
  set(all: readonly Exclusion[]): PlanUpdate {
    const { begun, ended } = changesBetween(this.#all, all)
    for (const one of begun) this.#log.warn({ ...one }, `other nodes have found this ${one.of} dead`)
    for (const one of ended) this.#log.info({ what: nameOf(one) }, 'no longer excluded')
    this.#all = all
    return this.#plan.setExclusions(new Exclusions(all))
  }
}

/**
 * Finds a Service, by its namespace, for which Envoy connects to the endpoint, or would were it not excluded. To others a
 * connection may mean something else, or be forbidden.
 */
function userOf(endpoint: string, plan: NodePlan): string | undefined {
  for (const { namespace } of frontendsTo(plan, endpoint)) return namespace
  return undefined
}
