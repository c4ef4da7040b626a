/** Where the CPU time goes, by what runs. */

import { readFileSync } from 'node:fs'
import { cpuTime } from './node.ts'

/** Seconds of CPU time by group, and `all` that the machine's cores were busy, the kernel's work for nobody in it. */
export type CpuTimes = Readonly<Record<string, number>>

/** Processes by group; those that are gone count nothing. */
export type Groups = Readonly<Record<string, readonly (number | undefined)[]>>

export function readCpu(groups: Groups): CpuTimes {
  const sums = Object.entries(groups).map(([name, pids]) => [
    name,
    pids.reduce((sum: number, pid) => sum + seconds(pid), 0),
  ])
  return { ...Object.fromEntries(sums), all: busySeconds() }
}

/** What each group took since then. */
export function cpuSince(groups: Groups, before: CpuTimes): CpuTimes {
  const now = readCpu(groups)
  return Object.fromEntries(Object.entries(now).map(([name, value]) => [name, value - before[name]!]))
}

function seconds(pid: number | undefined): number {
  if (pid === undefined) return 0
  try {
    return cpuTime({ pid }) / 1e9 + childrenSeconds(pid)
  } catch {
    return 0
  }
}

/** Of the programs that it has run and waited for, such as nft. proc(5), /proc/pid/stat: fields 16 and 17, counted from behind the name. */
function childrenSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[13]) + Number(fields[14])) / 100
}

/** proc(5), /proc/stat: hundredths of a second of all cores; the fourth is idle, the fifth waits for the disk. */
export function busySeconds(): number {
  const [, ...fields] = readFileSync('/proc/stat', 'utf8').split('\n')[0]!.split(/\s+/)
  const ticks = fields.slice(0, 8).map(Number)
  return ticks.reduce((sum, value, index) => (index === 3 || index === 4 ? sum : sum + value), 0) / 100
}
