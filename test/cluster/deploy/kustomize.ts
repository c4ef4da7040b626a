/** Kustomize's view of deploy/, with kubectl's own Kustomize. */

import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
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

/** The objects of a directory with these files, by name; `deploy/` in them is that of this repository. */
export async function renderFiles(files: Readonly<Record<string, string>>) {
  const directory = await mkdtemp(join(tmpdir(), 'lightpath-kustomize-'))
  try {
    for (const [name, text] of Object.entries(files)) {
      const file = join(directory, name)
      await mkdir(dirname(file), { recursive: true })
      await writeFile(file, text.replaceAll(/(\.\.\/)*deploy\//g, `${relative(dirname(file), deploy)}/`))
    }
    return parseAllDocuments(await kubectl('kustomize', directory)).map(document => document.toJS())
  } finally {
    await rm(directory, { recursive: true })
  }
}

/** The objects, in Kustomize's order. */
export async function render(resource: string, ...components: readonly string[]) {
  const text = await withKustomization(resource, components, directory => kubectl('kustomize', directory))
  return parseAllDocuments(text).map(document => document.toJS())
}
