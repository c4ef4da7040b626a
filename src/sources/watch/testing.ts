/** An API server for tests of watches: over TLS as real ones, and each request is answered as the test says. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeServerCertificate } from '../../certificates/certificate.ts'

/** Answers one request. */
export type Answer = (response: ServerResponse) => void

export interface FakeApi {
  readonly kubeconfig: string
  /** The queries so far, but those for readiness. */
  readonly queries: readonly URLSearchParams[]
  /** When each came, by performance.now(). */
  readonly askedAt: readonly number[]
  stop(): void
}

/** @param answers one for each request, in order; what comes later is never answered */
export async function startFakeApi(answers: readonly Answer[]): Promise<FakeApi> {
  const day = 24 * 3600e3
  const names = ['127.0.0.1']
  const [from, to] = [-day, day].map(ms => new Date(Date.now() + ms))
  const { authority, certificate, key } = makeServerCertificate(names, from!, to!)
  const queries: URLSearchParams[] = []
  const askedAt: number[] = []
  const server = createServer({ cert: certificate, key }, ({ url = '' }, response) => {
    const { pathname, searchParams } = new URL(url, 'https://127.0.0.1')
    if (pathname === '/readyz') return void response.end('ok')
    askedAt.push(performance.now())
    answers[queries.push(searchParams) - 1]?.(response)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const directory = mkdtempSync(join(tmpdir(), 'lightpath-fake-api-'))
  const kubeconfig = join(directory, 'kubeconfig')
  const cluster = {
    server: `https://127.0.0.1:${port}`,
    'certificate-authority-data': Buffer.from(authority).toString('base64'),
  }
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'fake',
    contexts: [{ name: 'fake', context: { cluster: 'fake', user: 'fake' } }],
    clusters: [{ name: 'fake', cluster }],
    users: [{ name: 'fake', user: { token: 'fake' } }],
  }
  writeFileSync(kubeconfig, JSON.stringify(config))
  return {
    kubeconfig,
    queries,
    askedAt,
    stop: () => {
      server.closeAllConnections()
      server.close()
      rmSync(directory, { recursive: true })
    },
  }
}
