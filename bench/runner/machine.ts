/** Where and with what was measured. */

import { execFileSync } from 'node:child_process'
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os'
import { findEnvoy } from '../../src/envoy/program/find.ts'
import { programs } from '../../test/cluster/apiserver.ts'

export interface Machine {
  readonly cores: number
  readonly cpu: string
  readonly memoryGB: number
  /** Of the last minute: what else the machine did as this began. */
  readonly load: number
}

export interface Versions {
  /** The commit; with a `+` where files were changed since. */
  readonly lightpath: string
  readonly kernel: string
  readonly node: string
  readonly envoy: string
  readonly kubernetes: string
}

export function machine(): Machine {
  return {
    cores: availableParallelism(),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    memoryGB: Math.round(totalmem() / 1e9),
    load: Number(loadavg()[0]!.toFixed(2)),
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

/** Results and the report change by being written, and the programs do not. */
function commit(): string {
  const git = (...args: readonly string[]) => execFileSync('git', args, { cwd: import.meta.dirname, encoding: 'utf8' })
  try {
    const changed = git('status', '--porcelain', '--', ':/', ':!/bench/results', ':!/docs').trim() !== ''
    return git('rev-parse', '--short=12', 'HEAD').trim() + (changed ? '+' : '')
  } catch {
    return 'unknown'
  }
}
