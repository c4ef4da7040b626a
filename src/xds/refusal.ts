/** Which resources of a refused response Envoy means. */

/**
 * Envoy names those that it cannot use in two of its messages (1.40, source/common/listener_manager/lds_api.cc and
 * source/common/upstream/cds_api.cc), both cut at 4096 characters:
 *
 *     Error adding/updating listener(s) NAME: REASON\nNAME: REASON\n
 *     Error adding/updating cluster(s) NAME: REASON, NAME: REASON
 *
 * Everything else, above all a resource that is broken as protobuf, comes without a name or with one that cannot be told
 * from the text around it, and yields none.
 */
export function namedCulprits(errorDetail: string, sent: readonly string[]): string[] {
  for (const { prefix, separator } of lists) {
    if (!errorDetail.startsWith(prefix)) continue
    const complaints = errorDetail.slice(prefix.length).split(separator)
    return sent.filter(name => complaints.some(complaint => complaint.startsWith(`${name}: `)))
  }
  return []
}

const lists = [
  { prefix: 'Error adding/updating listener(s) ', separator: '\n' },
  { prefix: 'Error adding/updating cluster(s) ', separator: ', ' },
] as const
