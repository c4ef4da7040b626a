/** Keeps the webhook's certificate in its Secret, renews it, and tells the API server whom to trust. */

import { createPrivateKey, X509Certificate } from 'node:crypto'
import type { Ask } from '../cluster/api.ts'
import { ApiError } from '../sources/api-server.ts'
import { type Raw, rawList, rawObject } from '../text/raw.ts'
import { makeServerCertificate, type ServerCertificate } from './certificate.ts'
import type { Served } from './server.ts'

export interface KeeperOptions {
  readonly ask: Ask
  /** By which the API server reaches this server. */
  readonly names: readonly string[]
  /** Of a certificate. It is renewed when a third of it is left. */
  readonly lifetimeMs: number
}

export const namespace = 'lightpath-system'
const secretName = 'lightpath-webhook'
const secrets = `/api/v1/namespaces/${namespace}/secrets`
const configuration = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/lightpath.cloud'
/** For clocks that differ. */
const backdateMs = 3600e3

/**
 * One look at Secret and webhook configuration, and what they need. Several servers may do this at the same time: the
 * first that writes the Secret wins, the others fail with a conflict and find its certificate at their next look.
 */
export function keeper(options: KeeperOptions, use: (served: Served) => void): () => Promise<void> {
  let isServing = false
  return async () => {
    const secret = await currentSecret(options)
    const wasTrusted = await trust(options.ask, secret.authority)
    // A new certificate is served one look after the API server was told of it, which hears that by a watch.
    if (!wasTrusted && isServing) return
    use(secret)
    isServing = true
  }
}

/** The Secret's certificate, renewed when it is due; `authority` also has the one before, which others may still serve. */
async function currentSecret({ ask, names, lifetimeMs }: KeeperOptions): Promise<ServerCertificate> {
  const found = await ask('GET', `${secrets}/${secretName}`).catch(orNone)
  const now = found && readSecret(found)
  if (now && timeLeft(now.certificate) > lifetimeMs / 3) return now
  const made = makeServerCertificate(names, new Date(Date.now() - backdateMs), new Date(Date.now() + lifetimeMs))
  const renewed = { ...made, authority: made.authority + (now ? firstCertificate(now.authority) : '') }
  const metadata = { name: secretName, resourceVersion: rawObject(found?.metadata).resourceVersion }
  const stringData = { 'ca.crt': renewed.authority, 'tls.crt': renewed.certificate, 'tls.key': renewed.key }
  const body = { metadata, type: 'kubernetes.io/tls', stringData }
  if (found) await ask('PUT', `${secrets}/${secretName}`, body)
  else await ask('POST', secrets, body)
  return renewed
}

/** Whether the webhook configuration had this bundle already. */
async function trust(ask: Ask, authority: string): Promise<boolean> {
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

/** undefined for a Secret that somebody has spoilt, which is made anew. */
function readSecret(secret: Raw): ServerCertificate | undefined {
  const data = rawObject(secret.data)
  const read = (key: string) => Buffer.from(String(data[key] ?? ''), 'base64').toString()
  const found = { authority: read('ca.crt'), certificate: read('tls.crt'), key: read('tls.key') }
  try {
    const isAuthority = new X509Certificate(found.authority).ca
    const fits = new X509Certificate(found.certificate).checkPrivateKey(createPrivateKey(found.key))
    return isAuthority && fits ? found : undefined
  } catch {
    return undefined
  }
}

function timeLeft(certificate: string): number {
  return new X509Certificate(certificate).validToDate.getTime() - Date.now()
}

function firstCertificate(bundle: string): string {
  const end = '-----END CERTIFICATE-----\n'
  return bundle.slice(0, bundle.indexOf(end) + end.length)
}

function orNone(error: unknown): undefined {
  if (error instanceof ApiError && error.code === 404) return undefined
  throw error
}
