/** Bytes of a connection as HTTP/1 messages, with what both ways may write differently taken away. */

interface Message {
  readonly start: string
  /** As they came, in their order. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly body: string
  /** Whether the message says itself that this is all. */
  readonly isWhole: boolean
}

const headEnd = /\r?\n\r?\n/

/** @param isHead whether the answer of this number is to a HEAD */
export function messagesOf(bytes: string, isEnded: boolean, isHead: (index: number) => boolean): readonly Message[] {
  const messages: Message[] = []
  let rest = bytes.replace(/^(\r\n)+/, '')
  while (rest !== '') {
    const end = headEnd.exec(rest)
    if (!end) return [...messages, { start: rest, headers: [], body: '', isWhole: false }]
    const [start = '', ...lines] = rest.slice(0, end.index).split(/\r?\n/)
    const headers = lines.map(
      line => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()] as const,
    )
    const after = rest.slice(end.index + end[0].length)
    const isAnswer = start.startsWith('HTTP/')
    const answers = messages.filter(({ start }) => !start.startsWith('HTTP/1.1 1')).length
    const { body, size, isWhole } = bodyOf(after, start, headers, isEnded, isAnswer && isHead(answers))
    messages.push({ start, headers, body, isWhole })
    rest = after.slice(size)
  }
  return messages
}

function bodyOf(
  after: string,
  start: string,
  headers: Message['headers'],
  isEnded: boolean,
  isHead: boolean,
): { readonly body: string; readonly size: number; readonly isWhole: boolean } {
  const value = (name: string) => headers.find(([other]) => other.toLowerCase() === name)?.[1]
  const [, status = ''] = /^HTTP\/1\.\d (\d{3})/.exec(start) ?? []
  const rest = (isWhole: boolean) => ({ body: after, size: after.length, isWhole })
  if (status === '101' || /^CONNECT /.test(start)) return rest(true)
  if (isHead || status.startsWith('1') || status === '204' || status === '304')
    return { body: '', size: 0, isWhole: true }
  if (/chunked/i.test(value('transfer-encoding') ?? '')) return chunked(after)
  const length = value('content-length')
  if (length !== undefined) {
    const size = Number(length)
    return { body: after.slice(0, size), size, isWhole: after.length >= size }
  }
  return status === '' ? { body: '', size: 0, isWhole: true } : rest(isEnded)
}

function chunked(after: string) {
  let body = ''
  let at = 0
  for (;;) {
    const line = after.indexOf('\n', at)
    const size = line === -1 ? Number.NaN : Number.parseInt(after.slice(at, line), 16)
    if (Number.isNaN(size)) return { body, size: after.length, isWhole: false }
    if (size > 0) {
      body += after.slice(line + 1, line + 1 + size)
      at = line + 1 + size + 2
      continue
    }
    const trailers = /^(?:.+\r?\n)*\r?\n/.exec(after.slice(line + 1))
    const text = trailers?.[0] ?? ''
    if (text.trim() !== '') body += `[trailers ${text.trim().replaceAll('\r\n', ', ').toLowerCase()}]`
    return { body, size: line + 1 + text.length, isWhole: trailers !== null }
  }
}

/** What Lightpath tells endpoints and clients beside what the other side wrote. */
const added = /^(?:x-request-id|x-envoy-[a-z-]+|x-forwarded-(?:for|proto)|date|server)$/
/** What is of one connection. */
const ofHop = /^(?:connection|keep-alive|transfer-encoding|proxy-connection)$/

/** In a line or more. @param written what the other side wrote: what is named there is no addition */
export function normalised({ start, headers, body, isWhole }: Message, written: string): string {
  const isKept = ([name]: readonly [string, string]) => {
    const lower = name.toLowerCase()
    return !ofHop.test(lower) && (!added.test(lower) || written.toLowerCase().includes(`\n${lower}:`))
  }
  const lines = headers.filter(isKept).map(([name, value]) => `${name}: ${value}`)
  const sorted = lines.toSorted((a, b) => compare(nameOf(a), nameOf(b)))
  return [start, ...sorted, '', shortened(body), ...(isWhole ? [] : ['(cut)'])].join('\n')
}

const nameOf = (line: string) => line.slice(0, line.indexOf(':')).toLowerCase()
const compare = (a: string, b: string) => (a < b ? -1 : Number(a > b))

function shortened(body: string): string {
  return body.length < 200 ? body : `${body.slice(0, 100)}… ${body.length} bytes`
}
