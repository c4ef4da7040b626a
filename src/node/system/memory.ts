import { trimMemory } from '../../kernel/netlink/libc.ts'
import { programMappings, unmapUnused } from './programpages.ts'

/** It takes three milliseconds, with 10,000 Services. */
const everyMs = 10_000

/**
 * Gives back what is free: glibc does so at the end of its heap only, and buffers of a large sync, or of a program being
 * compiled, are freed between others that stay. And what Node.js maps of itself without a use for it.
 */
export function giveMemoryBack(): { stop(): void } {
  const program = programMappings()
  const timer = setInterval(() => {
    trimMemory()
    unmapUnused(program)
  }, everyMs)
  return { stop: () => clearInterval(timer) }
}
