/** Asks the agent of this node, over its Unix socket. */

import { request } from 'node:http'
import { type Config, definitions } from './options.ts'

export type AgentAnswer<T> =
  | { readonly kind: 'answer'; readonly value: T }
  | { readonly kind: 'refusal'; readonly message: string }
  | { readonly kind: 'dead'; readonly reason: string }

const timeoutMs = 5000

/** `dead` where no agent answers, with the reason in words. */
export async function askAgent<T>(socket: string, path: string): Promise<AgentAnswer<T>> {
  const answer = await askAgentText(socket, path)
  return answer.kind === 'answer' ? { kind: 'answer', value: JSON.parse(answer.value) as T } : answer
}

/** As `askAgent`, for the text of an answer. */
export function askAgentText(socket: string, path: string): Promise<AgentAnswer<string>> {
  return new Promise(resolve => {
    const query = request({ socketPath: socket, path, signal: AbortSignal.timeout(timeoutMs) }, async response => {
      try {
        const chunks: Buffer[] = []
        for await (const chunk of response) chunks.push(chunk as Buffer)
        const text = Buffer.concat(chunks).toString()
        if (response.statusCode === 200) resolve({ kind: 'answer', value: text })
        else resolve({ kind: 'refusal', message: text.trim() })
      } catch (error) {
        resolve({ kind: 'dead', reason: whyDead(error as Error, socket) })
      }
    })
    query.on('error', error => resolve({ kind: 'dead', reason: whyDead(error, socket) }))
    query.end()
  })
}

/** Returns the answer of a living agent. @throws Error with what goes on without it where it is dead */
export async function askLivingAgent<T>(socket: string, path: string): Promise<T> {
  const answer = await askAgent<T>(socket, path)
  if (answer.kind === 'answer') return answer.value
  if (answer.kind === 'refusal') throw new Error(answer.message)
  throw new Error(
    `${answer.reason}. What it told Envoy and the kernel goes on working without it; ` +
      "`nft list table ip lightpath` shows the kernel's part. Start it with `lightpath node`",
  )
}

/** Adds the node name of the running agent, where none was given. */
export async function ofAgent(config: Config): Promise<Config> {
  if (config.nodeName !== definitions.nodeName.default) return config
  const answer = await askAgent<Pick<Config, 'nodeName'>>(config.socket, '/config')
  return answer.kind === 'answer' ? { ...config, nodeName: answer.value.nodeName } : config
}

function whyDead(error: NodeJS.ErrnoException, socket: string): string {
  if (error.code === 'ENOENT') return `there is no socket ${socket}: no agent was started with it`
  if (error.code === 'ECONNREFUSED') return `nobody answers on ${socket}: the agent is dead`
  if (error.name === 'AbortError' || error.name === 'TimeoutError')
    return `no answer on ${socket} within ${timeoutMs / 1000} s: the agent hangs`
  if (error.code === 'EACCES') return `socket ${socket} may not be opened by this user; try as root`
  return error.message
}
