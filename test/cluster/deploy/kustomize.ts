/** Kustomize's view of deploy/, with kubectl's own Kustomize. */

import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { promisify } from 'node:util'
import { parseAllDocuments } from 'yaml'
import { programs } from '../apiserver.ts'

const run = promisify(execFile)
const deploy = join(import.meta.dirname, '../../../deploy')

/** Makes a kustomization of one directory of deploy/ and components of it, for as long as `use` takes. */
export async function withKustomization<T>(
  resource: string,
  components: readonly string[],
  use: (directory: string) => Promise<T>,
): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'lightpath-kustomize-'))
  const from = (path: string) => relative(directory, join(deploy, path))
  try {
    const kustomization = { resources: [from(resource)], components: components.map(from) }
    await writeFile(join(directory, 'kustomization.yaml'), JSON.stringify(kustomization))
    return await use(directory)
  } finally {
    await rm(directory, { recursive: true })
  }
}

export async function kubectl(...args: readonly string[]): Promise<string> {
  const { stdout, stderr } = await run(join(programs, 'kubectl'), args)
  if (stderr !== '') throw new Error(`kubectl ${args[0]} warns: ${stderr}`)
  return stdout
}

/** The objects, in Kustomize's order. */
export async function render(resource: string, ...components: readonly string[]) {
  const text = await withKustomization(resource, components, directory => kubectl('kustomize', directory))
  return parseAllDocuments(text).map(document => document.toJS())
}
