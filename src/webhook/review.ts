/** An AdmissionReview of the API server to its answer, both as text. */

import { rawObject } from '../text/raw.ts'
import { admit } from './admit.ts'

/** @throws SyntaxError where it is no JSON */
export function review(text: string): string {
  const asked: unknown = JSON.parse(text)
  // The API server has left out namespaces that opted out: the configuration's namespaceSelector.
  const patch = admit(asked, {})
  const { uid } = rawObject(rawObject(asked).request)
  const change = { patchType: 'JSONPatch', patch: Buffer.from(JSON.stringify(patch)).toString('base64') }
  const response = { uid, allowed: true, ...(patch.length > 0 && change) }
  return JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response })
}
