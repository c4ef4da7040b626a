/**
 * What programs of the field put into a node's kernel, imitated: rules, chains and their order, marks, routing rules and
 * tables, sysctls, as their documentation and sources have them (docs/operations.md). Interfaces have the lab's names:
 * `pod+` in place of eni+, cali+ and the like.
 */

export interface Setup {
  readonly name: string
  /** For `sh -e` on the node. */
  readonly script: string
  /** Takes away what is neither a rule of nftables nor a routing rule. */
  readonly undo?: string
  /** Served through Envoy, or why the kernel layer serves: LP402's reason. */
  readonly outcome: 'envoy' | RegExp
  /** Why endpoints see what they see, as explain says. */
  readonly clientAddress?: RegExp
  /** A problem that is told. */
  readonly problem?: RegExp
  /** More flags of the agent. */
  readonly flags?: readonly string[]
}
