/** Sends a batch, and says what of it the kernel refused. */

import { messageTypes as answerTypes, NetlinkError, readError } from '../../netlink/answer.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import { MessageWriter } from '../../netlink/writer.ts'
import type { Operation } from '../operations.ts'
import { type Batch, type BatchOptions, BatchRefused, type Sent, writeBatch } from './messages.ts'

/** What of a socket a batch needs; tests have a kernel of their own behind it. */
type BatchSocket = Pick<NetlinkSocket, 'nextSequence' | 'send' | 'await' | 'receive'>

/** How many bytes it took. The socket is the batch's alone until then. Rejects with BatchRefused, SystemCallError, MalformedMessage. */
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

/** The kernel has answered before `send` returned: each refused message, and the last whatever became of it. */
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
  const names = new Set(errors.flatMap(error => namesOf(messages, error)))
  const isExact = errors.every(error => error.offset !== undefined || namesOf(messages, error).length < 2)
  const what = messages.find(({ sequence }) => sequence === first.sequence)?.what ?? 'change nf_tables'
  const [name] = namesOf(messages, first)
  const about = name === undefined ? '' : ` (${name})`
  return new BatchRefused(`cannot ${what}${about}: ${first.message}`, first.code, [...names], isExact)
}

/** The one element that the kernel points at, none where it points at something else; all of the message where it does not point. */
function namesOf(messages: readonly Sent[], { sequence, offset }: NetlinkError): readonly string[] {
  const sent = messages.find(message => message.sequence === sequence)
  if (sent === undefined) return []
  if (sent.name !== undefined) return [sent.name]
  const pointed = offset !== undefined && sent.elements.filter(({ start, end }) => start <= offset && offset < end)
  return (pointed || sent.elements).map(({ name }) => name)
}
