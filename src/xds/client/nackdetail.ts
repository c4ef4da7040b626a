/** Reads Envoy's words on a rejected response. */

interface NackReading {
  /** Those of the sent names that Envoy could not use. Empty where it does not say. */
  readonly culprits: ReadonlySet<string>
  /** Everything else in the response is in effect. */
  readonly restApplied: boolean
}

/**
 * Envoy goes through the listeners and clusters of a response one by one and lists those that it cannot use (1.40,
 * source/common/listener_manager/lds_api.cc, source/common/upstream/cds_api_impl.cc):
 *
 *     Error adding/updating listener(s) NAME: REASON\nNAME: REASON\n
 *     Error adding/updating cluster(s) NAME: REASON, NAME: REASON
 *
 * Long lists are cut. Every other error comes without a name, or with one that cannot be told from the text around it:
 * a resource that is broken as protobuf has the whole response rejected, and the first of the endpoints or routes that
 * Envoy cannot use ends the response, in no particular order.
 */
export function readNack(errorDetail: string, sent: readonly string[]): NackReading {
  for (const { prefix, separator } of lists) {
    if (!errorDetail.startsWith(prefix)) continue
    const complaints = errorDetail.slice(prefix.length).split(separator)
    const culprits = sent.filter(name => complaints.some(complaint => complaint.startsWith(`${name}: `)))
    return { culprits: new Set(culprits), restApplied: culprits.length > 0 && !errorDetail.endsWith(cut) }
  }
  return { culprits: new Set(), restApplied: false }
}

const lists = [
  { prefix: 'Error adding/updating listener(s) ', separator: '\n' },
  { prefix: 'Error adding/updating cluster(s) ', separator: ', ' },
] as const

const cut = '...(truncated)'
