/** The answer to an AdmissionReview: at most one label more. */

import { handOver, whyLeft } from '../services/handover/rule.ts'
import { rawObject } from '../text/raw.ts'

type Operation = {
  readonly op: 'add'
  readonly path: string
  readonly value: string | Readonly<Record<string, string>>
}

/** Where the label is in a Service. */
export const labelPath = `/metadata/labels/${handOver.key.replaceAll('~', '~0').replaceAll('/', '~1')}`

/** A JSON patch (RFC 6902). */
type Patch = readonly Operation[]

/**
 * What is to change in the object of an admission.k8s.io/v1 AdmissionReview: nothing for all but the creation of a Service.
 *
 * @param review the request, of which nothing is known yet
 * @param namespaceLabels labels of the object's namespace
 */
export function admit(review: unknown, namespaceLabels: Readonly<Record<string, unknown>>): Patch {
  const request = rawObject(rawObject(review).request)
  if (request.operation !== 'CREATE' || request.subResource || !isService(request.kind)) return []
  const object = rawObject(request.object)
  // The object of a request may leave the namespace to the URL.
  const metadata = { ...rawObject(object.metadata), namespace: request.namespace }
  if (whyLeft({ ...object, metadata }, namespaceLabels) !== undefined) return []
  return [labelled(rawObject(metadata).labels)]
}

function isService(kind: unknown): boolean {
  const { group, version, kind: name } = rawObject(kind)
  return (group === '' || group === undefined) && version === 'v1' && name === 'Service'
}

/** The handing over of an object with these labels: a member can only be added to an object that is there. */
export function labelled(labels: unknown): Operation {
  if (typeof labels !== 'object' || labels === null) {
    return { op: 'add', path: '/metadata/labels', value: { [handOver.key]: handOver.value } }
  }
  return { op: 'add', path: labelPath, value: handOver.value }
}
