/** A backend that writes nothing: what a new one begins as. */

import type { KernelBackend } from '../../backend.ts'
import { EmptyLayer } from './layer.ts'

export const empty: KernelBackend = {
  name: 'empty',
  capabilities: { servesExternal: false, tracksUse: false, preservesClient: false, needsNfTables: false },
  create: () => new EmptyLayer(),
  preflight: { programs: [], tryRules: async () => ({ found: 'there are no rules that the kernel could refuse' }) },
  overlaySwitch: {
    missing: 'switch',
    families: async () => [],
    read: async () => undefined,
    set: async () => {},
  },
  find: async () => [],
  cleanup: async () => [],
  describe: states => states.map(({ id }) => `${id}\n`).join(''),
  dump: [],
}
