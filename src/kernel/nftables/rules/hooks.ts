import type { Hook } from '../operations.ts'

/** Where the chains of the fixed part are called from, in the order in which a packet passes them. */
export const hooks = {
  mangle: { type: 'filter', hook: 'prerouting', priority: -150 },
  refuse: { type: 'filter', hook: 'prerouting', priority: -149 },
  dstnat: { type: 'nat', hook: 'prerouting', priority: -100 },
  forward: { type: 'filter', hook: 'forward', priority: 0 },
  output: { type: 'filter', hook: 'output', priority: 0 },
  refuseLocal: { type: 'filter', hook: 'output', priority: -149 },
  dstnatLocal: { type: 'nat', hook: 'output', priority: -100 },
  abandoned: { type: 'nat', hook: 'prerouting', priority: -90 },
  abandonedLocal: { type: 'nat', hook: 'output', priority: -90 },
  input: { type: 'filter', hook: 'input', priority: 0 },
  reached: { type: 'filter', hook: 'input', priority: 300 },
  srcnat: { type: 'nat', hook: 'postrouting', priority: 100 },
} as const satisfies Record<string, Hook>
