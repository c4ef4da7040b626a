/** A directory of manifests that is followed until a test is over. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Service } from '../../services/objects/service.ts'
import { RecordingListener, silentLog, until } from '../testing.ts'
import { directorySource } from './directory.ts'

export const service = (name: string, port = 80) =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}, namespace: shop}\nspec: {clusterIP: 10.0.0.1, ports: [{port: ${port}}]}\n`

interface Followed {
  readonly root: string
  readonly listener: RecordingListener
  /** The files that were read, of those with an object that is ignored. */
  readonly reads: string[]
  write(name: string, text: string): void
  path(name: string): string
  /** Waits until the known Services are those with these names and ports. */
  shows(...services: readonly string[]): Promise<void>
  /** Waits until the current problems are as many as the patterns, and match them in order of their text. */
  tells(...patterns: readonly RegExp[]): Promise<void>
}

/** A directory with these files that is followed until the test is over. */
export async function follow(
  t: TestContext,
  files: Readonly<Record<string, string>>,
  missing = false,
): Promise<Followed> {
  const parent = mkdtempSync(join(tmpdir(), 'lightpath-directory-'))
  const root = join(parent, 'manifests')
  if (!missing) mkdirSync(root)
  const path = (name: string) => join(root, name)
  const write = (name: string, text: string) => {
    mkdirSync(dirname(path(name)), { recursive: true })
    writeFileSync(path(name), text)
  }
  for (const [name, text] of Object.entries(files)) write(name, text)
  const listener = new RecordingListener()
  const reads: string[] = []
  const log = { ...silentLog, debug: ({ file }: { file?: unknown }) => reads.push(basename(String(file))) }
  const source = directorySource(root, { log, rescanMs: 500 })
  t.after(async () => {
    await source.stop()
    rmSync(parent, { recursive: true, force: true })
  })
  await source.start(listener)
  if (!missing)
    await until(
      () => listener.timesSynced === 1,
      () => listener.told().join('\n'),
    )
  const ports = () =>
    [...listener.objects.values()].map(object => `${object.name}:${(object as Service).ports[0]?.port}`).sort()
  return {
    root,
    listener,
    reads,
    write,
    path,
    shows: (...expected) =>
      until(
        () => `${ports()}` === `${expected}`,
        () => `${ports()} instead of ${expected}; ${listener.told()}`,
      ),
    tells: (...patterns) =>
      until(
        () =>
          listener.told().length === patterns.length &&
          patterns.every((p, i) => p.test(listener.told().toSorted()[i]!)),
        () => `problems: ${listener.told().join('\n')}`,
      ),
  }
}

export const json = (name: string, port: number) =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'shop' },
    spec: { clusterIP: '10.0.0.1', ports: [{ port }] },
  })
