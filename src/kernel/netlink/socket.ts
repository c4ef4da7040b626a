/**
 * A netlink socket: requests and their answers. The kernel handles a request before `send` returns, so what it answers
 * is there to be received at once, and a request is a synchronous call of some microseconds.
 */

import { isTurnOver, nextTurn } from '../../worker/turns.ts'
import { flags, isInterrupted, messageTypes, NetlinkError, readDone, readError } from './answer.ts'
import {
  bindSocket,
  closeSocket,
  inNetwork,
  openSocket,
  receiveBytes,
  SystemCallError,
  sendBytes,
  setSocketOption,
  waitReadable,
} from './libc.ts'
import { type Message, readMessages } from './reader.ts'
import { MessageWriter } from './writer.ts'

/** NETLINK_…. */
export const protocols = { route: 0, sockDiag: 4, xfrm: 6, netfilter: 12 } as const
export type NetlinkProtocol = keyof typeof protocols

export interface NetlinkOptions {
  /** Of another network namespace than this process's, such as `/var/run/netns/node1`. */
  readonly netns?: string | undefined
  /** The kernel's name for the socket, unique in the network namespace; default: any. */
  readonly port?: number | undefined
  /** Bytes that may wait to be received; default 4 MiB. */
  readonly receiveBuffer?: number
}

export interface Request {
  readonly type: number
  /** Beside NLM_F_REQUEST and what the method adds. */
  readonly flags?: number
  /** Writes the family's own header, and attributes. */
  readonly body: (writer: MessageWriter) => void
}

const domain = 16
const datagram = 2
const solSocket = 1
const options = { sendForce: 32, receiveForce: 33 } as const
const solNetlink = 270
const netlinkOptions = { addMembership: 1, cappedAnswers: 10, texts: 11, strict: 12 } as const

const firstLength = 64 * 1024
const maxLength = 16 * 1024 * 1024
/** How often a dump is tried that a change interrupts. */
const maxTries = 20
/** Answers come at once, except those that the kernel leaves to a worker of its own. */
const answerMs = 5000

export class NetlinkSocket {
  readonly fd: number
  readonly #writer = new MessageWriter()
  #buffer = Buffer.allocUnsafe(firstLength)
  #sequence = 0
  #port: number | undefined
  #isClosed = false

  /** Throws SystemCallError, and LibcMissing. */
  constructor(protocol: NetlinkProtocol, { netns, port = 0, receiveBuffer = 4 * 1024 * 1024 }: NetlinkOptions = {}) {
    this.fd = inNetwork(netns, () => openSocket(domain, datagram, protocols[protocol]))
    try {
      const address = Buffer.alloc(12)
      address.writeUInt16LE(domain)
      address.writeUInt32LE(port, 4)
      bindSocket(this.fd, address)
      setSocketOption(this.fd, solNetlink, netlinkOptions.cappedAnswers, 1)
      setSocketOption(this.fd, solNetlink, netlinkOptions.texts, 1)
      // Without it a dump of routes is not of the table that is asked for, but of all the Internet's.
      if (protocol === 'route') setSocketOption(this.fd, solNetlink, netlinkOptions.strict, 1)
      this.setBuffer('receiveForce', receiveBuffer)
    } catch (error) {
      this.close()
      throw error
    }
  }

  /** Raises a buffer beyond the system's limit where the process may (CAP_NET_ADMIN); else leaves it as it is. */
  setBuffer(option: keyof typeof options, bytes: number): void {
    try {
      setSocketOption(this.fd, solSocket, options[option], bytes)
    } catch (error) {
      if (!(error instanceof SystemCallError) || error.code !== 'EPERM') throw error
    }
  }

  /** Receives this group's messages from now on. */
  join(group: number): void {
    setSocketOption(this.fd, solNetlink, netlinkOptions.addMembership, group)
  }

  nextSequence(): number {
    this.#sequence = (this.#sequence + 1) >>> 0 || 1
    return this.#sequence
  }

  /** Sends messages that the caller has written and numbered. Throws SystemCallError, such as EPERM or EMSGSIZE. */
  send(bytes: Uint8Array): void {
    sendBytes(this.fd, bytes)
  }

  /**
   * Receives the messages of the next datagram, valid until the one after it; undefined while there is none. Throws
   * SystemCallError: ENOBUFS where the kernel had more to send than there was room for, and EMSGSIZE where a datagram
   * was longer than the buffer, which is longer the next time. In both cases something is lost.
   */
  receive(): readonly Message[] | undefined {
    const length = receiveBytes(this.fd, this.#buffer)
    if (length === undefined) return undefined
    if (length <= this.#buffer.length) return this.#read(length)
    if (length <= maxLength) this.#buffer = Buffer.allocUnsafe(2 ** Math.ceil(Math.log2(length)))
    throw new SystemCallError('recv', 'EMSGSIZE')
  }

  /** The kernel's name for this socket, which others see; undefined before its first answer. */
  get port(): number | undefined {
    return this.#port
  }

  #read(length: number): readonly Message[] {
    const messages = readMessages(this.#buffer.subarray(0, length))
    this.#port ??= messages[0]?.port
    return messages
  }

  /**
   * Receives as `receive`, but waits for the answer to what was sent. Throws SystemCallError ETIMEDOUT where none
   * comes.
   */
  await(): readonly Message[] {
    const messages = this.receive()
    if (messages !== undefined) return messages
    if (waitReadable(this.fd, answerMs)) return this.receive() ?? []
    throw new SystemCallError('recv', 'ETIMEDOUT')
  }

  /**
   * Makes the request, and returns the kernel's answers besides its acknowledgement, each through `read`. Throws
   * NetlinkError where the kernel refuses it, SystemCallError, MalformedMessage.
   */
  request<T = never>(request: Request, read?: (message: Message) => T): readonly T[] {
    const sequence = this.#send(request, flags.ack)
    const answers: T[] = []
    for (;;) {
      for (const message of this.await()) {
        if (message.sequence !== sequence) continue
        if (message.type !== messageTypes.error) {
          if (read && message.type > messageTypes.overrun) answers.push(read(message))
          continue
        }
        const error = readError(message)
        if (error) throw error
        return answers
      }
    }
  }

  /**
   * Reads all objects of a kind, each message through `read`; those for which it returns undefined are left out. Begins
   * anew where something changes meanwhile. Throws as `request`, and NetlinkError EINTR where that never ends.
   */
  dumpNow<T>(request: Request, read: (message: Message) => T | undefined): readonly T[] {
    const steps = this.#dump(request, read)
    for (;;) {
      const { done, value } = steps.next()
      if (done) return value
    }
  }

  /**
   * Reads as `dumpNow`, for many objects: lets the event loop turn on the way. Until it is done, the socket must do
   * nothing else.
   */
  async dump<T>(request: Request, read: (message: Message) => T | undefined): Promise<readonly T[]> {
    const steps = this.#dump(request, read)
    for (;;) {
      const { done, value } = steps.next()
      if (done) return value
      if (isTurnOver()) await nextTurn()
    }
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    closeSocket(this.fd)
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #send({ type, flags: more = 0, body }: Request, added: number): number {
    const sequence = this.nextSequence()
    this.#writer.clear()
    this.#writer.message(type, flags.request | added | more, sequence, body)
    this.send(this.#writer.bytes)
    return sequence
  }

  /** Yields after each datagram. */
  *#dump<T>(request: Request, read: (message: Message) => T | undefined): Generator<undefined, readonly T[]> {
    for (let tries = 1; ; tries++) {
      try {
        return yield* this.#dumpOnce(request, read)
      } catch (error) {
        if (tries === maxTries || !isAgainWorthwhile(error)) throw error
      }
    }
  }

  *#dumpOnce<T>(request: Request, read: (message: Message) => T | undefined): Generator<undefined, readonly T[]> {
    const sequence = this.#send(request, flags.dump)
    const found: T[] = []
    let wasInterrupted = false
    for (;;) {
      for (const message of this.await()) {
        // Belongs to a dump that was given up.
        if (message.sequence !== sequence) continue
        wasInterrupted ||= isInterrupted(message)
        if (message.type === messageTypes.overrun) throw new SystemCallError('recv', 'ENOBUFS')
        if (message.type === messageTypes.error || message.type === messageTypes.done) {
          const error = message.type === messageTypes.error ? readError(message) : readDone(message)
          if (error) throw error
          if (wasInterrupted) throw new NetlinkError('EINTR', sequence, 'changed while it was read')
          return found
        }
        if (message.type === messageTypes.noop) continue
        const value = read(message)
        if (value !== undefined) found.push(value)
      }
      yield
    }
  }
}

/** Whether something changed meanwhile, or was lost for want of room. */
function isAgainWorthwhile(error: unknown): boolean {
  if (error instanceof NetlinkError) return error.code === 'EINTR'
  return error instanceof SystemCallError && ['ENOBUFS', 'EMSGSIZE'].includes(error.code)
}

/** Does the work with a socket that is closed afterwards. */
export function withSocket<T>(
  protocol: NetlinkProtocol,
  options: NetlinkOptions,
  work: (socket: NetlinkSocket) => T,
): T {
  using socket = new NetlinkSocket(protocol, options)
  return work(socket)
}
