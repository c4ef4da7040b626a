/** The number of the format of the facts, which both sides of a stream say before anything else. */

import type { Metadata } from '@grpc/grpc-js'

/** Grows when control planes and agents of before would misunderstand what is told now. */
export const factsFormat = 1
const header = 'lightpath-facts-format'

export function sayFormat(metadata: Metadata): Metadata {
  metadata.set(header, String(factsFormat))
  return metadata
}

/** What is wrong with the format that the other side says; undefined where it is ours. */
export function isNoFormat(metadata: Metadata): string | undefined {
  const [said] = metadata.get(header)
  if (said === String(factsFormat)) return undefined
  const other = said === undefined ? 'no format of facts' : `format ${String(said).slice(0, 20)} of facts`
  return `the other side says ${other}, and this one speaks format ${factsFormat}; run control planes and agents of one version`
}
