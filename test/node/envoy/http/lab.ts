/** Envoy in front of one endpoint that speaks HTTP/1. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TestContext } from 'node:test'
import type { Settings } from '../../../../src/services/settings/settings.ts'
import { httpEndpoint, rawEndpoint, serve, servicePort } from '../envoy.ts'

export const get = 'GET / HTTP/1.1\r\nHost: whoami\r\nConnection: close\r\n\r\n'

/** Envoy in front of one endpoint; returns the port that clients connect to. */
export async function throughEnvoy(
  t: TestContext,
  onRequest: (request: IncomingMessage, response: ServerResponse) => void,
  settings: Partial<Settings> = {},
): Promise<number> {
  const { port } = await httpEndpoint(t, onRequest)
  const state = await servicePort('whoami', 'http', [port], settings)
  await serve(t, [state])
  return state.port.port
}

/** As throughEnvoy, with an endpoint that answers bytes to the head of each request. */
export async function throughEnvoyToBytes(t: TestContext, answer: (head: string) => string): Promise<number> {
  const { port } = await rawEndpoint(t, socket => {
    let head = ''
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      head += chunk
      if (!head.includes('\r\n\r\n')) return
      socket.write(answer(head), 'latin1')
      head = ''
    })
  })
  const state = await servicePort('whoami', 'http', [port])
  await serve(t, [state])
  return state.port.port
}

export const echoHead = (head: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${head.length}\r\n\r\n${head}`
