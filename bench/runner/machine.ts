/** Where and with what was measured. */

import { execFileSync } from 'node:child_process'
import { availableParallelism, cpus, release, totalmem } from 'node:os'
import { findEnvoy } from '../../src/envoy/program/find.ts'
import { pause } from '../../src/lab/wait.ts'
import { programs } from '../../test/cluster/apiserver.ts'
import { busySeconds } from '../lab/cpu.ts'

export interface Machine {
  readonly cores: number
  readonly cpu: string
  readonly memoryGB: number
  /** Cores that were busy with something else just before this began. */
  readonly load: number
}

const loadSeconds = 2

export interface Versions {
  /** The last commit of what is measured; with a `+` where files were changed since. */
  readonly lightpath: string
  readonly kernel: string
  readonly node: string
  readonly envoy: string
  readonly kubernetes: string
}

export async function machine(): Promise<Machine> {
  // Not the load of the last minute: that is of the experiment before.
  const before = busySeconds()
  await pause(loadSeconds * 1000)
  return {
    cores: availableParallelism(),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    memoryGB: Math.round(totalmem() / 1e9),
    load: Number(((busySeconds() - before) / loadSeconds).toFixed(2)),
  }
}

export async function versions(): Promise<Versions> {
  const envoy = await findEnvoy()
  return {
    lightpath: commit(),
    kernel: release().split('-')[0]!,
    node: process.version,
    envoy: envoy.ok ? envoyVersion(envoy.path) : 'none',
    kubernetes: programs.slice(programs.lastIndexOf('-') + 1),
  }
}

/** A busy machine's figures are to be repeated before they are believed. */
export function isBusy({ load, cores }: Machine): boolean {
  return load > cores / 4
}

function envoyVersion(path: string): string {
  const text = execFileSync(path, ['--version'], { encoding: 'utf8' })
  return /\/(\d+\.\d+\.\d+[^/]*)\//.exec(text)?.[1] ?? 'unknown'
}

/** Results and what is written of them change with each run, and the programs do not. */
function commit(): string {
  const measured = [':/', ':!/bench/results', ':!/docs', ':!/README.md']
  const git = (...args: readonly string[]) =>
    execFileSync('git', [...args, '--', ...measured], { cwd: import.meta.dirname, encoding: 'utf8' }).trim()
  try {
    return git('log', '-1', '--format=%h', '--abbrev=12') + (git('status', '--porcelain') === '' ? '' : '+')
  } catch {
    return 'unknown'
  }
}
