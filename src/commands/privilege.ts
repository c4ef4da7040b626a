/** Checks what a command may do in the kernel. */

import { readFileSync } from 'node:fs'

/** CAP_NET_ADMIN, by linux/capability.h. */
const netAdmin = 12n

/** @throws Error with what to do, where this process may not change the kernel's rules */
export function requireNetAdmin(command: string): void {
  if (hasNetAdmin()) return
  throw new Error(`${command} needs root, or CAP_NET_ADMIN: run it as root, such as with sudo`)
}

function hasNetAdmin(): boolean {
  try {
    const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
    return effective === undefined || (BigInt(`0x${effective}`) & (1n << netAdmin)) !== 0n
  } catch {
    // Without /proc the kernel itself will say so.
    return true
  }
}
