/** The registry of backends. A new one is a folder with its object, and a line here. */

import type { KernelBackend } from './backend.ts'
import { iptables } from './iptables/backend.ts'
import { nftables } from './nftables/backend.ts'

/** The first is the default of `--proxy-mode`. */
export const backends: readonly KernelBackend[] = [nftables, iptables]

export const proxyModes = backends.map(({ name }) => name)

/** @param name one of `proxyModes` */
export function backendOf(name: string): KernelBackend {
  return backends.find(backend => backend.name === name)!
}
