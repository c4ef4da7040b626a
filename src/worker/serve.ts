/** The side of a thread that works for an Offload. */

import { parentPort, type Transferable } from 'node:worker_threads'

export type Reply<Answer> = { readonly answer: Answer } | { readonly error: string }

export interface Done<Answer> {
  readonly answer: Answer
  /** Memory that goes over to whoever asked. */
  readonly transfer?: readonly Transferable[]
}

export function serve<Request, Answer>(work: (request: Request) => Promise<Done<Answer>>): void {
  const port = parentPort!
  port.on('message', (request: Request) => {
    work(request).then(
      ({ answer, transfer = [] }) => port.postMessage({ answer } satisfies Reply<Answer>, { transfer: [...transfer] }),
      (error: unknown) => {
        const reply: Reply<Answer> = { error: error instanceof Error ? error.message : String(error) }
        port.postMessage(reply)
      },
    )
  })
}
