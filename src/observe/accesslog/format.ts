/** The form of the access log's records: Envoy's configuration has them written so (envoy/resources/), records.ts reads them. */

/** Unit separator, between the names and between the values of a record's only attribute; no header may have it. */
export const separator = '\u001f'

/** The names of the first values, which tell the owner. */
export const ownerNames = ['service', 'frontend'] as const

/** The first value behind the owner of a record that is an observation. */
export const observationMark = 'observed'

/** The last name of a record that may be an error, a lost request, or both. */
export const lastOfBoth = 'sent'

/** Response flags of requests that may be lost: the client ended, or the answer broke the rules of HTTP. */
export const lossFlags: readonly string[] = ['DC', 'UPE']
