/**
 * Unmaps the pages of the program's own file that it does not use. Node.js maps more than 100 MB of it and touches half
 * to start: V8's compilers, its built-in JavaScript, ICU. All of these are clean, so nothing is lost: what is used again
 * comes back from the page cache, and the kernel may evict the rest.
 */

import { readFileSync, readlinkSync } from 'node:fs'
import { dropPages } from '../../kernel/netlink/libc.ts'

export interface Mapping {
  readonly start: bigint
  readonly end: bigint
}

/** The mappings live as long as the process. */
export function programMappings(): readonly Mapping[] {
  return cleanMappings(readFileSync('/proc/self/smaps', 'utf8'), readlinkSync('/proc/self/exe'))
}

export function unmapUnused(mappings: readonly Mapping[]): void {
  for (const { start, end } of mappings) dropPages(start, end)
}

const header = /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+ +(.*)$/
/** Neither writable nor shared. */
const fixed = /^r-[x-]p$/
const privatePages = /^Anonymous: +(\d+) kB$/

/**
 * Finds, in `/proc/PID/smaps`, the mappings of a file that nothing was ever written to: what the dynamic linker
 * relocated before it made a mapping read-only would be lost.
 */
export function cleanMappings(smaps: string, file: string): readonly Mapping[] {
  const clean: Mapping[] = []
  let mapping: Mapping | undefined
  for (const line of smaps.split('\n')) {
    const [, start, end, permissions = '', path] = header.exec(line) ?? []
    if (start !== undefined) {
      const isItsOwn = path === file && fixed.test(permissions)
      mapping = isItsOwn ? { start: BigInt(`0x${start}`), end: BigInt(`0x${end}`) } : undefined
    } else if (mapping && privatePages.exec(line)?.[1] === '0') clean.push(mapping)
  }
  return clean
}
