/**
 * CPU time shared out as a kubelet does among containers: by weights that follow from their CPU requests, in cgroups of version 1
 * or 2. https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#how-pods-with-resource-limits-are-run
 */

import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type CgroupVersion, versionHere } from '../../src/lab/cgroups.ts'
import { waitFor } from '../../src/lab/wait.ts'

const emptyMs = 5000
const ownPrefix = 'lightpath-bench-run-'
/** More than any machine's other work asks for. */
const wholeMilliCpu = 1000 * 32

interface WeightVersion extends CgroupVersion {
  readonly weightOf: (milliCpu: number) => number
}

/** https://github.com/kubernetes/enhancements/tree/master/keps/sig-node/2254-cgroup-v2 for the second. */
const sharesOf = (milliCpu: number) => Math.max(2, Math.round((milliCpu * 1024) / 1000))
const versions: readonly WeightVersion[] = [
  { root: '/sys/fs/cgroup/cpu', file: 'cpu.shares', weightOf: sharesOf },
  {
    root: '/sys/fs/cgroup',
    file: 'cpu.weight',
    weightOf: milliCpu => 1 + Math.floor(((sharesOf(milliCpu) - 2) * 9999) / 262_142),
  },
]

/** Processes by the name of their container, with its CPU request in thousandths of a core. */
export interface Container {
  readonly name: string
  readonly milliCpu: number
  readonly pids: readonly number[]
}

/** @returns what undoes it; undefined where the machine has no such cgroups */
export async function shareOut(containers: readonly Container[]): Promise<(() => Promise<void>) | undefined> {
  const found = versionHere(versions)
  if (!found) return undefined
  const { root, file, weightOf } = found
  const groups: string[] = []
  const make = (path: string, weight: number) => {
    mkdirSync(path)
    groups.unshift(path)
    writeFileSync(join(path, file), String(weight))
  }
  const parent = join(root, `lightpath-bench-${process.pid}`)
  const undo = async () => {
    for (const group of groups) await waitFor(`${group} to be empty`, emptyMs, async () => remove(group, root))
  }
  try {
    make(parent, weightOf(wholeMilliCpu))
    if (file === 'cpu.weight') writeFileSync(join(parent, 'cgroup.subtree_control'), '+cpu')
    for (const { name, milliCpu, pids } of containers) {
      const group = join(parent, name)
      make(group, weightOf(milliCpu))
      for (const pid of pids) writeFileSync(join(group, 'cgroup.procs'), String(pid))
    }
  } catch (error) {
    await undo()
    throw error
  }
  return undo
}

/** A process that is just ending cannot be moved, and is in its group until it is gone. */
function remove(group: string, root: string): boolean {
  try {
    for (const pid of readFileSync(join(group, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean)) {
      writeFileSync(join(root, 'cgroup.procs'), pid)
    }
    rmdirSync(group)
    return true
  } catch {
    return false
  }
}

/**
 * Puts this process, and so all that it starts from now on, into one cgroup that has the machine before all else. Without it Linux
 * shares out CPU time among sessions (sched(7), autogroup), and Envoy, which works for all, would get as little as one of its clients.
 * Nothing happens where the machine has no such cgroups.
 */
export function enterOwnCgroup(): void {
  const found = versionHere(versions)
  if (!found) return
  const { root, file, weightOf } = found
  for (const left of readdirSync(root).filter(name => name.startsWith(ownPrefix))) removeIfEmpty(join(root, left))
  const group = join(root, `${ownPrefix}${process.pid}`)
  mkdirSync(group)
  writeFileSync(join(group, file), String(weightOf(wholeMilliCpu)))
  writeFileSync(join(group, 'cgroup.procs'), String(process.pid))
  process.once('exit', () => remove(group, root))
}

function removeIfEmpty(group: string): void {
  try {
    rmdirSync(group)
  } catch {
    // Another run is in it.
  }
}

/** The CPU request of the container of that name in deploy/, in thousandths of a core. */
export function requestOf(part: 'node' | 'proxy', container: string): number {
  const path = fileURLToPath(new URL(`../../deploy/${part}/daemonset.yaml`, import.meta.url))
  const [, after = ''] = readFileSync(path, 'utf8').split(`- name: ${container}\n`)
  return Number(/requests: \{cpu: (\d+)m/.exec(after)?.[1])
}
