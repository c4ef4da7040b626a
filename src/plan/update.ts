/** The difference between a plan and the one before: of a Service that is derived twice, from the first to the last. */

import { describeKey } from '../services/objects/objects.ts'
import type { Problem } from '../services/problem.ts'
import type { HealthCheck } from './endpoints/healthcheck.ts'
import { externalDestinationsOf } from './ports/externaldestinations.ts'
import type { PortState } from './ports/port.ts'
import { finderOf } from './ports/portstates.ts'

/** A port that came (`before` undefined), went (`after` undefined) or is different. */
export interface PortChange {
  readonly id: string
  readonly before: PortState | undefined
  readonly after: PortState | undefined
}

export interface PlanUpdate {
  readonly ports: readonly PortChange[]
  /** The problems of each Service that was derived, by its description; empty where there are none any more. */
  readonly problems: ReadonlyMap<string, readonly Problem[]>
  /** The health checks of each Service that was derived and has some, or had, by namespace/name. */
  readonly healthChecks: ReadonlyMap<string, readonly HealthCheck[]>
  /**
   * Services (`namespace/name`) that another proxy takes over from now on: the kernel layer serves them until
   * `release`.
   */
  readonly handedOver: readonly string[]
  /** `NodePlan.policies` may be different. */
  readonly policiesChanged: boolean
}

export class PlanChanges {
  readonly #ports = new Map<string, PortChange>()
  readonly #problems = new Map<string, readonly Problem[]>()
  readonly #healthChecks = new Map<string, readonly HealthCheck[]>()
  readonly #handedOver: string[] = []

  /** @returns those that are different */
  setPorts(before: readonly PortState[], after: readonly PortState[]): readonly PortChange[] {
    const changes = changesBetween(before, after)
    for (const change of changes) {
      const first = this.#ports.get(change.id)
      this.#ports.set(change.id, first ? { ...change, before: first.before } : change)
    }
    return changes
  }

  /** @param key `namespace/name` */
  setProblems(key: string, problems: readonly Problem[]): void {
    const [namespace, name] = key.split('/') as [string, string]
    this.#problems.set(describeKey({ kind: 'Service', namespace, name }), problems)
  }

  setHealthChecks(key: string, before: readonly HealthCheck[], after: readonly HealthCheck[]): void {
    if (before.length > 0 || after.length > 0) this.#healthChecks.set(key, after)
  }

  handOver(key: string): void {
    this.#handedOver.push(key)
  }

  update(policiesChanged: boolean): PlanUpdate {
    const changed = [...this.#ports.values()].filter(({ before, after }) => before !== after)
    return {
      ports: losersFirst(changed),
      problems: this.#problems,
      healthChecks: this.#healthChecks,
      handedOver: this.#handedOver,
      policiesChanged,
    }
  }
}

/** Returns the ports that are different. */
function changesBetween(before: readonly PortState[], after: readonly PortState[]): readonly PortChange[] {
  const [find, findAfter] = [finderOf(before), finderOf(after)]
  const gone = before.filter(({ id }, index) => !findAfter(id, index))
  return [
    ...gone.map(state => ({ id: state.id, before: state, after: undefined })),
    ...after.map((state, index) => ({ id: state.id, before: find(state.id, index), after: state })),
  ].filter(change => change.before !== change.after)
}

/** Orders changes such that a port releases an address before another takes it: so it is always one port's alone. */
function losersFirst(changes: readonly PortChange[]): readonly PortChange[] {
  const [losers, others] = [[] as PortChange[], [] as PortChange[]]
  for (const change of changes) (isLoser(change) ? losers : others).push(change)
  return losers.length === 0 || others.length === 0 ? changes : [...losers, ...others]
}

function isLoser({ before, after }: PortChange): boolean {
  if (!before) return false
  if (after && haveSameAddresses(before, after)) return false
  const kept = new Set(after && addressesOf(after))
  return addressesOf(before).some(address => !kept.has(address))
}

/** Compares without a look at each: states share what is alike in them. */
function haveSameAddresses(a: PortState, b: PortState): boolean {
  const [ofA, ofB] = [a.external, b.external]
  return (
    a.vip === b.vip &&
    a.port.port === b.port.port &&
    ofA?.nodePort === ofB?.nodePort &&
    ofA?.externalIPs === ofB?.externalIPs &&
    ofA?.loadBalancerIPs === ofB?.loadBalancerIPs
  )
}

function addressesOf(state: PortState): readonly string[] {
  return [{ ip: state.vip, port: state.port.port }, ...externalDestinationsOf(state)].map(
    ({ ip, port }) => `${ip} ${port}`,
  )
}
