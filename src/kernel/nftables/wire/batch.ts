/** Sends a batch, and reports what of it the kernel refused. */

import { messageTypes as answerTypes, NetlinkError, readError } from '../../netlink/answer.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import { MessageWriter } from '../../netlink/writer.ts'
import type { ElementName } from '../elements/elements.ts'
import { elementText } from '../elements/text.ts'
import type { Operation } from '../operations.ts'
import { type BatchOptions, writeBatch } from './messages.ts'
import { type Batch, BatchRefused, namesOf, type Sent, textOf } from './sent.ts'

/** The part of a socket that a batch needs; tests have a kernel of their own behind it. */
type BatchSocket = Pick<NetlinkSocket, 'nextSequence' | 'send' | 'await' | 'receive'>

/**
 * Sends the batch, and returns how many bytes it took. The socket is the batch's alone until then. Rejects with
 * BatchRefused, SystemCallError, MalformedMessage.
 */
export async function applyBatch(
  socket: BatchSocket,
  operations: readonly Operation[],
  options: BatchOptions = {},
): Promise<number> {
  if (operations.length === 0) return 0
  const writer = new MessageWriter()
  const batch = await writeBatch(writer, operations, () => socket.nextSequence(), options)
  const { length } = writer
  socket.send(writer.bytes)
  const errors = answersTo(batch, socket)
  if (errors.length > 0) throw refusal(batch, errors)
  return length
}

/**
 * Receives the answers, which are there before `send` returns: to each refused message, and to the last in any case.
 */
function answersTo(batch: Batch, socket: BatchSocket): readonly NetlinkError[] {
  const errors: NetlinkError[] = []
  let isAnswered = false
  const last = batch.messages.at(-1)!.sequence
  for (let messages = socket.await(); messages !== undefined; messages = socket.receive()!) {
    for (const message of messages) {
      const isOurs = message.sequence >= batch.beginning && message.sequence <= last + 1
      if (message.type !== answerTypes.error || !isOurs) continue
      const error = readError(message)
      if (error) errors.push(error)
      isAnswered ||= error !== undefined || message.sequence === last
    }
  }
  if (!isAnswered) throw new NetlinkError('ENOMSG', last, 'the kernel did not answer')
  return errors
}

function refusal({ messages }: Batch, errors: readonly NetlinkError[]): BatchRefused {
  const [first] = errors as readonly [NetlinkError]
  const about = errors.map(error => aboutOf(messages, error))
  const names = new Set(about.flatMap(({ names }) => names))
  const isExact = errors.every((error, index) => error.offset !== undefined || about[index]!.names.length < 2)
  const what = messages.find(({ sequence }) => sequence === first.sequence)?.what ?? 'change nf_tables'
  const { text } = about[0]!
  const reason = `cannot ${what}${text === undefined ? '' : ` (${text})`}: ${first.message}`
  return new BatchRefused(reason, first.code, [...names], isExact)
}

interface About {
  readonly names: readonly ElementName[]
  /** The first of them in words. */
  readonly text: string | undefined
}

/**
 * Returns the one element that the kernel points at, none where it points at something else, and all of the message
 * where it does not point.
 */
function aboutOf(messages: readonly Sent[], { sequence, offset }: NetlinkError): About {
  const sent = messages.find(message => message.sequence === sequence)
  if (sent?.name !== undefined) return { names: [sent.name], text: elementText(sent.name) }
  const elements = sent?.elements
  if (elements === undefined) return { names: [], text: undefined }
  const names = namesOf(elements)
  const isPointed = (index: number) =>
    offset === undefined || (elements.places[index]! <= offset && offset < elements.places[index + 1]!)
  const pointed = elements.items.flatMap((_, index) => (isPointed(index) ? [index] : []))
  const [first] = pointed
  return {
    names: pointed.flatMap(index => names[index] ?? []),
    text: first === undefined ? undefined : textOf(elements, first),
  }
}
