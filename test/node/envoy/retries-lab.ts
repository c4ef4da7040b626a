/** Requests, and endpoints that fail them. */

import type { TestContext } from 'node:test'
import { rawEndpoint } from './envoy.ts'

export const request = (method: string) =>
  `${method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`

export function statusOf(answer: string): number {
  return Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1])
}

/** An endpoint that resets each connection as soon as a request is there, and counts them. */
export async function resetting(t: TestContext) {
  const seen: string[] = []
  const { port } = await rawEndpoint(t, socket => {
    socket.once('data', chunk => {
      seen.push(chunk.toString('latin1').split(' ')[0]!)
      socket.resetAndDestroy()
    })
  })
  return { port, seen }
}

/** No outlier detection, so that each test sees each endpoint chosen again and again. */
export const never = { outlierDetectionConsecutive5xx: 0, outlierDetectionConsecutiveGatewayFailure: 0 }
