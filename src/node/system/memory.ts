import { trimMemory } from '../../kernel/netlink/libc.ts'

/** It takes a millisecond, with 10,000 Services. */
const everyMs = 10_000

/**
 * Gives back what is free: glibc does so at the end of its heap only, and buffers of a large sync, or of a program being
 * compiled, are freed between others that stay.
 */
export function giveMemoryBack(): { stop(): void } {
  const timer = setInterval(trimMemory, everyMs)
  return { stop: () => clearInterval(timer) }
}
