/** Keeps a server's certificate in its Secret, renews it, and tells clients whom to trust. */

import { createPrivateKey, X509Certificate } from 'node:crypto'
import type { Ask } from '../cluster/api.ts'
import { namespace } from '../cluster/namespace.ts'
import { ApiError } from '../sources/api-server.ts'
import { type Raw, rawObject } from '../text/raw.ts'
import { makeServerCertificate, type Served, type ServerCertificate } from './certificate.ts'

export interface KeeperOptions {
  readonly ask: Ask
  /** The name of the Secret. */
  readonly secret: string
  /** By which clients reach this server. */
  readonly names: readonly string[]
  /** Of a certificate. It is renewed when a third of it is left. */
  readonly lifetimeMs: number
  /** Tells clients the certificates of the authorities (PEM). Resolves to whether they have had them for long enough. */
  readonly trust: (authority: string) => Promise<boolean>
}

const secrets = `/api/v1/namespaces/${namespace}/secrets`
/** For clocks that differ. */
const backdateMs = 3600e3

/**
 * One look at Secret and trust, and what they need. Several servers may do this at the same time: the first that writes
 * the Secret wins, the others fail with a conflict and find its certificate at their next look.
 */
export function keeper(options: KeeperOptions, use: (served: Served) => void): () => Promise<void> {
  let isServing = false
  return async () => {
    const secret = await currentSecret(options)
    const isTrusted = await options.trust(secret.authority)
    if (!isTrusted && isServing) return
    use(secret)
    isServing = true
  }
}

/** The Secret's certificate, renewed when it is due; `authority` also has the one before, which others may still serve. */
async function currentSecret({ ask, secret: name, names, lifetimeMs }: KeeperOptions): Promise<ServerCertificate> {
  const path = `${secrets}/${name}`
  const found = await ask('GET', path).catch(orNone)
  const now = found && readSecret(found)
  if (now && timeLeft(now.certificate) > lifetimeMs / 3) return now
  const made = makeServerCertificate(names, new Date(Date.now() - backdateMs), new Date(Date.now() + lifetimeMs))
  const renewed = { ...made, authority: made.authority + (now ? firstCertificate(now.authority) : '') }
  const metadata = { name, resourceVersion: rawObject(found?.metadata).resourceVersion }
  const stringData = { 'ca.crt': renewed.authority, 'tls.crt': renewed.certificate, 'tls.key': renewed.key }
  const body = { metadata, type: 'kubernetes.io/tls', stringData }
  if (found) await ask('PUT', path, body)
  else await ask('POST', secrets, body)
  return renewed
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

/** For an object that there may not be. @throws any other error */
export function orNone(error: unknown): undefined {
  if (error instanceof ApiError && error.code === 404) return undefined
  throw error
}
