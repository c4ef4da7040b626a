/**
 * A backend writes the kernel layer through one interface of the kernel. The agent and the commands use nothing of it
 * but what is declared here, so a new backend is a folder that exports one such object, and a line in backends.ts.
 */

import type { IpFamily } from '../net/address.ts'
import type { PortState } from '../plan/ports/port.ts'
import type { Family } from './family.ts'
import type { KernelLayer, KernelObserver } from './layer.ts'
import type { NodeFacts } from './nodeconfig.ts'
import type { KernelOptions, NodePlanOptions, PlanOptions, RulesetOptions } from './options.ts'
import type { CommandPrefix } from './system/command.ts'

export interface BackendCapabilities {
  /** It serves node ports, external IPs and load-balancer IPs, too. */
  readonly servesExternal: boolean
  /** The kernel records which Service ports the node calls: `KernelLayer.calls`. */
  readonly tracksUse: boolean
  /** Envoy can connect to endpoints from the client's address. */
  readonly preservesClient: boolean
  /** It needs nf_tables in the kernel, with which the path to Envoy is tested and rules of others are read. */
  readonly needsNfTables: boolean
}

export interface KernelBackend {
  /** Its value of `--proxy-mode`. */
  readonly name: string
  readonly capabilities: BackendCapabilities
  create(options: KernelOptions, observer?: KernelObserver): KernelLayer
  readonly preflight: BackendPreflight
  readonly overlaySwitch: BackendSwitch
  /** Lists in words what it has written on this node; empty where there is nothing. Rejects with a CommandError. */
  find(): Promise<readonly string[]>
  /** Removes all that it ever wrote, and returns in words for a user what it removed. Rejects with a CommandError. */
  cleanup(where?: KernelPlace): Promise<readonly string[]>
  /**
   * Renders the rules of these ports as text that the system's programs load, with all that is for Envoy acknowledged.
   * @param sharesListener whether the port's VIP goes to the listener that Service ports share
   */
  describe(
    states: readonly PortState[],
    node: NodeFacts | undefined,
    options: PlanOptions & NodePlanOptions & RulesetOptions,
    sharesListener: (state: PortState) => boolean,
  ): string
  /** The files of `debug dump`, and how each is read; reading rejects where there is nothing. */
  readonly dump: readonly (readonly [file: string, read: () => Promise<string>])[]
}

/** A network namespace. Default: this process's own. */
export interface KernelPlace {
  /** Words before each command that lead there, for tests. */
  readonly prefix?: CommandPrefix
  /** Its path. */
  readonly netns?: string
}

export interface BackendPreflight {
  /** Programs of the system that it runs. */
  readonly programs: readonly BackendProgram[]
  /** Has the kernel check all rules of the fixed part, and apply none. */
  tryRules(family: IpFamily, options: RulesetOptions): Promise<RulesTrial>
}

export interface BackendProgram {
  readonly name: string
  /** Arguments with which it exits with 0 wherever it works. */
  readonly args: readonly string[]
  /** Debian's packages that have it. */
  readonly packages: string
}

export interface RulesTrial {
  /** In words for a user. */
  readonly found: string
  /** What to do; undefined where the kernel takes the rules. */
  readonly remedy?: string
}

/** People switch a node's overlay off with this, in the kernel itself: it needs no agent, and no agent changes it. */
export interface BackendSwitch {
  /** Says in words what a node without the switch lacks. */
  readonly missing: string
  /** The families that have a switch on this node. */
  families(): Promise<readonly Family[]>
  /** Whether the overlay is on; undefined where a family has no switch. Off in one family counts as off. */
  read(families: readonly Family[]): Promise<boolean | undefined>
  /** Rejects where a family has no switch. */
  set(families: readonly Family[], on: boolean): Promise<void>
}
