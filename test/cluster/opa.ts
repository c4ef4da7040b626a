/** The OPA that deploy/components/opa runs. */

import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { parse } from 'yaml'

const file = new URL('../../deploy/components/opa/deployment.yaml', import.meta.url)
const [container] = parse(readFileSync(file, 'utf8')).spec.template.spec.containers

export const opaImage: string = container.image
export const opaArguments: readonly string[] = container.args

const version = /opa:([\d.]+)-static$/.exec(opaImage)![1]
const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache')

/** The same version, as a program. */
export const opa = join(cache, 'lightpath', `opa-${version}`)
/** Why there is none; undefined when there is. */
export const noOpa = existsSync(opa) ? undefined : `no ${opa}; tools/setup cluster builds it`
