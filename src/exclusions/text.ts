/** Says in words why something is excluded. */

import { someOf } from '../text/some.ts'
import type { Exclusion } from './exclusion.ts'

export function describeExclusion({ of, failure, since, by, isSilent }: Exclusion): string {
  const what = failure === 'refused' ? 'connections are refused' : 'connections time out'
  const where = of === 'node' ? 'there' : 'to it'
  const own = isSilent ? `; ${of === 'node' ? 'it' : 'its node'} is silent` : ''
  return `excluded since ${new Date(since).toISOString()}: ${what} ${where}, say ${someOf(by)}${own}`
}
