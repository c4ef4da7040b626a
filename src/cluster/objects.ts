/** What objects of the API say, for commands that look at a cluster. Pure. */

import { type Raw, rawList, rawObject } from '../text/raw.ts'

export function nameOf({ metadata }: Raw): string {
  return String(rawObject(metadata).name)
}

/** Of a Node or a Pod. */
export function isReady({ status }: Raw): boolean {
  return rawList(rawObject(status).conditions).some(condition => {
    const { type, status } = rawObject(condition)
    return type === 'Ready' && status === 'True'
  })
}

/** Of the agents' DaemonSet: its last `--services` counts. */
export function scopeOf(daemonSet: Raw): 'all' | 'labelled' {
  const scope = rawList(containerOf(daemonSet).args)
    .map(String)
    .findLast(argument => argument.startsWith('--services='))
  return scope === '--services=labelled' ? 'labelled' : 'all'
}

export function imageOf(daemonSet: Raw): string | undefined {
  const { image } = containerOf(daemonSet)
  return typeof image === 'string' ? image : undefined
}

function containerOf(daemonSet: Raw): Raw {
  const { spec } = rawObject(rawObject(daemonSet.spec).template)
  return rawObject(rawList(rawObject(spec).containers)[0])
}
