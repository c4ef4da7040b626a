/** Tells the API server whom to trust as webhook. */

import type { Ask } from '../cluster/api.ts'
import { rawList, rawObject } from '../text/raw.ts'

const configuration = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/lightpath.cloud'

/**
 * Writes caBundle of the webhook configuration. Resolves to whether it had these already: the API server hears of it by
 * a watch, so a new certificate is to be served one look later.
 */
export async function trustInWebhook(ask: Ask, authority: string): Promise<boolean> {
  const caBundle = Buffer.from(authority).toString('base64')
  const { webhooks } = await ask('GET', configuration)
  const patch = rawList(webhooks).flatMap((webhook, i) => {
    const { name, clientConfig } = rawObject(webhook)
    if (rawObject(clientConfig).caBundle === caBundle) return []
    const path = `/webhooks/${i}`
    return [
      { op: 'test', path: `${path}/name`, value: name },
      { op: 'add', path: `${path}/clientConfig/caBundle`, value: caBundle },
    ]
  })
  if (patch.length > 0) await ask('PATCH', configuration, patch)
  return patch.length === 0
}
