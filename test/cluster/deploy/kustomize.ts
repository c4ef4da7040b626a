/** Kustomize's view of deploy/, with kubectl's own Kustomize. */

import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
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

/** Makes a directory with these files, by name, for as long as `use` takes; `deploy/` in them is that of this repository. */
export async function withFiles<T>(
  files: Readonly<Record<string, string>>,
  use: (directory: string) => Promise<T>,
): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'lightpath-kustomize-'))
  try {
    for (const [name, text] of Object.entries(files)) {
      const file = join(directory, name)
      await mkdir(dirname(file), { recursive: true })
      await writeFile(file, text.replaceAll(/(\.\.\/)*deploy\//g, `${relative(dirname(file), deploy)}/`))
    }
    return await use(directory)
  } finally {
    await rm(directory, { recursive: true })
  }
}

/** The files by which docs/scale.md has control planes in each of these zones, by name. */
export async function filesOfZones(zones: readonly string[]): Promise<Readonly<Record<string, string>>> {
  const text = await readFile(join(deploy, '../docs/scale.md'), 'utf8')
  const blocks = [...text.matchAll(/^ {4}# (\S*kustomization\.yaml)\n((?: {4}.*\n|\n)+)/gm)]
  const files = new Map(blocks.map(([, name, content]) => [name!, content!.replaceAll(/^ {4}/gm, '')]))
  const [main, zone] = ['kustomization.yaml', 'zone-a/kustomization.yaml'].map(name => files.get(name))
  if (main === undefined || zone === undefined) throw new Error(`docs/scale.md has ${[...files.keys()].join()}`)
  const ofZone = (name: string) => zone.replaceAll(/(: -?)a(?=[}\n])/g, `$1${name}`)
  return {
    'kustomization.yaml': main.replace('zone-a, zone-b', zones.map(name => `zone-${name}`).join(', ')),
    ...Object.fromEntries(zones.map(name => [`zone-${name}/kustomization.yaml`, ofZone(name)])),
  }
}

/** The objects, in Kustomize's order. */
export async function render(resource: string, ...components: readonly string[]) {
  return await withKustomization(resource, components, objectsOf)
}

export async function objectsOf(directory: string) {
  return parseAllDocuments(await kubectl('kustomize', directory)).map(document => document.toJS())
}
