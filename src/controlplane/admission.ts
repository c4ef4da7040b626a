/** Decides by an agent's token whether it is served, and whether it still is while the stream lasts. */

import { setTimeout as sleep } from 'node:timers/promises'
import { type ServerDuplexStream, status } from '@grpc/grpc-js'
import type { Bearers } from '../observe/access/bearers.ts'

/** Whose bearers may have the facts. */
export const factsAccess = { path: '/lightpath/facts', audience: 'lightpath-controlplane' } as const

export type Call = ServerDuplexStream<Uint8Array, Uint8Array>

export interface Refusal {
  readonly code: status
  readonly details: string
  /** The API server has said so; else it may say otherwise soon. */
  readonly isFinal: boolean
}

export type Identity = { readonly node: string | undefined } | Refusal

/** How long an agent waits while too many tokens are looked at: less than it takes an agent to go elsewhere. */
const busyMs = 10_000
const busyPauseMs = 200

/** Resolves when the API server has said something, or does not within a few seconds. */
export async function identify(call: Call, bearers: Bearers): Promise<Identity> {
  const [header] = call.metadata.get('authorization')
  const token = /^Bearer (\S+)$/i.exec(String(header ?? ''))?.[1]
  if (token === undefined) return { code: status.UNAUTHENTICATED, details: 'send a bearer token', isFinal: true }
  const peer = call.getPeer().replace(/:\d+$/, '')
  const deadline = performance.now() + busyMs
  let verdict = await bearers.verdict(token, peer)
  while (verdict.kind === 'busy' && !call.cancelled && performance.now() < deadline) {
    await sleep(busyPauseMs * (0.5 + Math.random()))
    verdict = await bearers.verdict(token, peer)
  }
  switch (verdict.kind) {
    case 'allowed':
      return { node: verdict.node }
    case 'forbidden': {
      const details = `${verdict.user} may not get the nonResourceURL ${factsAccess.path}`
      return { code: status.PERMISSION_DENIED, details, isFinal: true }
    }
    case 'unauthenticated': {
      const details = 'the API server does not know this token, or it is for another audience'
      return { code: status.UNAUTHENTICATED, details, isFinal: true }
    }
    default:
      return { code: status.UNAVAILABLE, details: 'the token cannot be looked at now', isFinal: false }
  }
}

/**
 * Looks at the token again between this time and twice this, as long as the call lasts. Where the API server says
 * nothing, the call goes on, and it is asked again sooner.
 */
export function reviewAgain(call: Call, bearers: Bearers, tokenMs: number, refuse: (refusal: Refusal) => void): void {
  let timer: NodeJS.Timeout
  let isOver = false
  const arm = (ms: number) => {
    timer = setTimeout(review, ms * (1 + Math.random()))
  }
  const review = async () => {
    const found = await identify(call, bearers)
    if (isOver) return
    if (!('code' in found)) arm(tokenMs)
    else if (found.isFinal) refuse(found)
    else arm(tokenMs / 10)
  }
  for (const event of ['cancelled', 'error', 'close']) {
    call.on(event, () => {
      isOver = true
      clearTimeout(timer)
    })
  }
  arm(tokenMs)
}
