/** Says in words why something is excluded. */

import { someOf } from '../text/some.ts'
import type { Exclusion } from './exclusion.ts'

export function describeExclusion(exclusion: Exclusion): string {
  return `excluded since ${new Date(exclusion.since).toISOString()}: ${whyExcluded(exclusion)}`
}

export function whyExcluded({ of, failure, by, isSilent }: Exclusion): string {
  const what = failure === 'refused' ? 'connections are refused' : 'connections time out'
  const where = of === 'node' ? 'there' : 'to it'
  const own = isSilent ? `; ${of === 'node' ? 'it' : 'its node'} is silent` : ''
  return `${what} ${where}, say ${someOf(by)}${own}`
}
