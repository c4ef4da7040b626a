/** The OPA that deploy/components/opa runs. */

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { cache } from '../apiserver.ts'

const file = new URL('../../../deploy/components/opa/deployment.yaml', import.meta.url)
const [container] = parse(readFileSync(file, 'utf8')).spec.template.spec.containers

export const opaImage: string = container.image
export const opaArguments: readonly string[] = container.args

const version = /opa:([\d.]+)-static$/.exec(opaImage)![1]

/** The same version, as a program. */
export const opa = join(cache, `opa-${version}`)
/** Why there is none; undefined when there is. */
export const noOpa = existsSync(opa) ? undefined : `no ${opa}; tools/setup cluster builds it`
