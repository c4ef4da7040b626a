/**
 * A backend writes the kernel layer by one program interface of the kernel's. All that the agent and the commands ask of one
 * is here, so that a backend is a folder, which exports one such object, and a line in backends.ts.
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
  /** The kernel notes which Service ports the node calls: `KernelLayer.calls`. */
  readonly tracksUse: boolean
  /** Envoy's connections may come from the client's address. */
  readonly preservesClient: boolean
  /** It needs nf_tables in the kernel, by which the path to Envoy is tested and rules of others are read. */
  readonly needsNfTables: boolean
}

export interface KernelBackend {
  /** As `--proxy-mode` has it. */
  readonly name: string
  readonly capabilities: BackendCapabilities
  create(options: KernelOptions, observer?: KernelObserver): KernelLayer
  readonly preflight: BackendPreflight
  readonly overlaySwitch: BackendSwitch
  /** What there is of it on this node, in words; empty where there is nothing. Rejects with a CommandError. */
  find(): Promise<readonly string[]>
  /** Removes all that it ever wrote; what was removed, in words for a user. Rejects with a CommandError. */
  cleanup(where?: KernelPlace): Promise<readonly string[]>
  /** The rules of these ports, once Envoy has acknowledged all that are for it, as a text that the system's programs load. */
  describe(
    states: readonly PortState[],
    node: NodeFacts | undefined,
    options: PlanOptions & NodePlanOptions & RulesetOptions,
  ): string
  /** What `debug dump` packs: files, and how each is read, which rejects where there is nothing. */
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
  /** With which it ends well wherever it works. */
  readonly args: readonly string[]
  /** Debian's. */
  readonly packages: string
}

export interface RulesTrial {
  /** In words for a user. */
  readonly found: string
  /** What to do; undefined where the kernel takes the rules. */
  readonly remedy?: string
}

/** The switch by which people take a node's overlay off, in the kernel itself: it needs no agent, and no agent changes it. */
export interface BackendSwitch {
  /** What a node lacks that has no such switch, in words. */
  readonly missing: string
  /** The families that have one on this node. */
  families(): Promise<readonly Family[]>
  /** Whether the overlay is on; undefined where a family has no switch. Off in one family counts as off. */
  read(families: readonly Family[]): Promise<boolean | undefined>
  /** Rejects where a family has none. */
  set(families: readonly Family[], on: boolean): Promise<void>
}
