/**
 * What is sent both ways: by the kernel layer and through Envoy. Client and server are scripts, so that each sees bytes and
 * ends of connections, not messages.
 */

/** A text is written as it is (latin1), a number is a pause in milliseconds. */
export type Step =
  | string
  | number
  | { readonly do: 'fin' | 'reset' | 'head' | 'request' }
  | { readonly do: 'until'; readonly text: string }
  | { readonly do: 'bytes'; readonly count: number }

/** Ends this side of the connection; the other may go on. */
export const fin: Step = { do: 'fin' }
export const reset: Step = { do: 'reset' }
/** Of a server: waits for the head of a request, or for a whole one. What Envoy makes of the framing is read either way. */
export const head: Step = { do: 'head' }
export const request: Step = { do: 'request' }
/** Of a client: waits until this has come, at most five seconds. */
export const until = (text: string): Step => ({ do: 'until', text })
/** Of a server: waits until so many bytes have come that no other step took. */
export const bytes = (count: number): Step => ({ do: 'bytes', count })

/**
 * Where both ways may differ: in what the client reads, in how its connection is left (open, fin, reset), in how often the
 * server gets a request, and in what it gets (differences.ts).
 */
export type Aspect = 'answer' | 'end' | 'count' | 'requests'

export interface Input {
  readonly name: string
  readonly client: readonly Step[]
  /** Runs on each connection, and again from its first step on until the connection ends. */
  readonly server: readonly Step[]
  /** Of the Service port. */
  readonly settings?: Readonly<Record<string, string>>
}

export const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
/** Answers each request. */
export const answering = (answer: string): readonly Step[] => [request, answer]
export const answersOk = answering(ok)

/** A request without a body. */
export const get = (...headers: readonly string[]): string => message('GET / HTTP/1.1', ['Host: a', ...headers])
/** A request or answer. */
export const message = (start: string, headers: readonly string[] = [], body = ''): string =>
  `${[start, ...headers].join('\r\n')}\r\n\r\n${body}`
