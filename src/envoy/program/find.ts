/** Finds the Envoy program, and checks that Lightpath works with it. */

import { execFile } from 'node:child_process'
import { constants } from 'node:fs'
import { access, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import { type Problem, problem } from '../../services/problem.ts'

/** The minimum: the configuration uses what this version introduced (`tcp_keepalive` of listeners among others). */
export const minimumVersion = '1.40.0'

export type Found =
  | { readonly ok: true; readonly path: string; readonly version: string }
  | { readonly ok: false; readonly problem: Problem }

export type Environment = Readonly<Partial<Record<'ENVOY_BIN' | 'PATH' | 'XDG_CACHE_HOME', string>>>

/**
 * Takes $ENVOY_BIN alone where it is set; else the first usable one of those on the PATH and the one that tools/setup
 * puts into the cache. If none is usable, the error says what is wrong with the first.
 */
export async function findEnvoy(environment: Environment = process.env): Promise<Found> {
  let firstUnusable: Found | undefined
  for (const path of candidates(environment)) {
    const found = await examine(path)
    if (found?.ok) return found
    firstUnusable ??= found
  }
  return firstUnusable ?? notUsable(environment.ENVOY_BIN ?? 'envoy', 'not found')
}

function candidates({ ENVOY_BIN, PATH = '', XDG_CACHE_HOME }: Environment): readonly string[] {
  if (ENVOY_BIN) return [ENVOY_BIN]
  const onPath = PATH.split(delimiter).filter(directory => directory !== '')
  const cache = XDG_CACHE_HOME || join(homedir(), '.cache')
  return [...onPath.map(directory => join(directory, 'envoy')), join(cache, 'lightpath', `envoy-${minimumVersion}`)]
}

/** Undefined where there is no file. */
async function examine(path: string): Promise<Found | undefined> {
  const file = await stat(path).catch(() => undefined)
  if (!file?.isFile()) return undefined
  if (!(await isExecutable(path))) return notUsable(path, 'it is not executable')
  const version = await versionOf(path)
  if (version === undefined)
    return notUsable(path, 'it does not tell its version: it is no Envoy, or none for this machine')
  if (!isSupported(version)) return notUsable(path, `its version is ${version}, older than ${minimumVersion}`)
  return { ok: true, path, version }
}

function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  )
}

async function versionOf(path: string): Promise<string | undefined> {
  const result = await promisify(execFile)(path, ['--version'], { timeout: 10_000 }).catch(() => undefined)
  // `envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL`
  return result && /version: [^/]*\/(\d+\.\d+\.\d+)/.exec(result.stdout)?.[1]
}

/** Whether a version such as `1.40.0` is the minimum or later. */
export function isSupported(version: string): boolean {
  return version.localeCompare(minimumVersion, 'en', { numeric: true }) >= 0
}

function notUsable(path: string, reason: string): Found {
  const remedy = `run tools/setup, or set ENVOY_BIN to an Envoy ${minimumVersion} or later; until then the kernel layer serves all Services`
  return { ok: false, problem: problem('LP302', `Envoy ${path}`, reason, remedy) }
}
