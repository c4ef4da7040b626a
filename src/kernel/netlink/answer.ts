/** The kernel's answers to a request: done, or why not (NLMSG_ERROR and NLMSG_DONE, with extended acknowledgements). */

import { errnoName } from './libc.ts'
import { MalformedMessage, type Message, readAttributes } from './reader.ts'

export const messageTypes = { noop: 1, error: 2, done: 3, overrun: 4 } as const
/** Flags of a request, NLM_F_…. */
export const flags = {
  request: 1,
  ack: 4,
  dump: 0x300,
  replace: 0x100,
  exclusive: 0x200,
  create: 0x400,
  append: 0x800,
} as const
const answerFlags = { interrupted: 0x10, capped: 0x100, hasTexts: 0x200 } as const

/** The kernel refuses a request. */
export class NetlinkError extends Error {
  /** errno's name, such as `EEXIST`. */
  readonly code: string
  /** The request's sequence number. */
  readonly sequence: number
  /** The kernel's explanation in words; undefined where it gives none. */
  readonly text: string | undefined
  /** The offset in the request of the attribute at fault; undefined where the kernel does not say. */
  readonly offset: number | undefined

  constructor(code: string, sequence: number, text?: string, offset?: number) {
    super(text === undefined ? code : `${code}: ${text}`)
    this.name = 'NetlinkError'
    this.code = code
    this.sequence = sequence
    this.text = text
    this.offset = offset
  }
}

/** Whether something changed during the dump, which may then miss objects that were there all the time. */
export function isInterrupted(message: Message): boolean {
  return (message.flags & answerFlags.interrupted) !== 0
}

const requestHeaderLength = 16

/** Reads an error; undefined for an acknowledgement. The sequence is that of the request that it is about. */
export function readError({ body, flags, sequence }: Message): NetlinkError | undefined {
  if (body.length < 4 + requestHeaderLength) throw new MalformedMessage('an error without its request')
  const errno = -body.readInt32LE()
  if (errno === 0) return undefined
  // The request follows, all of it or its header, and then the texts.
  const requestLength = body.readUInt32LE(4)
  const echoed = flags & answerFlags.capped ? requestHeaderLength : requestLength + (-requestLength & 3)
  return new NetlinkError(errnoName(errno), sequence, ...detailsOf(body, flags, 4 + echoed))
}

/** Reads the end of a dump; undefined where it ended well. */
export function readDone({ body, flags, sequence }: Message): NetlinkError | undefined {
  const errno = body.length < 4 ? 0 : -body.readInt32LE()
  return errno <= 0 ? undefined : new NetlinkError(errnoName(errno), sequence, ...detailsOf(body, flags, 4))
}

const answerAttributes = { text: 1, offset: 2 } as const

function detailsOf(body: Buffer, flags: number, from: number): readonly [text?: string, offset?: number] {
  if ((flags & answerFlags.hasTexts) === 0) return []
  const attributes = readAttributes(body, from)
  return [attributes.text(answerAttributes.text) || undefined, attributes.u32(answerAttributes.offset)]
}
