/**
 * The kernel's notifications: multicast groups of netlink.
 *
 * Node.js waits for TCP, UDP and Unix sockets, not for these. So the kernel is asked for a signal when there is
 * something to receive: SIGIO, which comes to the event loop as any signal does (0.1 ms), costs nothing at rest, and
 * needs no thread.
 */

import { SystemCallError, signalWhenReadable } from './libc.ts'
import { MalformedMessage, type Message } from './reader.ts'
import { type NetlinkOptions, type NetlinkProtocol, NetlinkSocket } from './socket.ts'

export interface Subscription extends NetlinkOptions {
  readonly protocol: NetlinkProtocol
  /** Numbers of groups, as RTNLGRP_… and NFNLGRP_…. */
  readonly groups: readonly number[]
  /** Each message, valid during the call. */
  readonly onMessage: (message: Message) => void
  /** Messages were lost, since the buffer was full: read anew what is to be known. */
  readonly onLost: () => void
}

/** Datagrams received at once; the rest after the event loop has turned. */
const atOnce = 200

const readers = new Set<() => void>()

function onSignal(): void {
  for (const read of readers) read()
}

/**
 * Subscribes at once, so read the current state after this, not before. Returns a function that ends the subscription.
 * Does not keep the process alive. For the main thread only. Throws SystemCallError.
 */
export function subscribe({ protocol, groups, onMessage, onLost, ...options }: Subscription): () => void {
  const socket = new NetlinkSocket(protocol, options)
  let isOpen = true
  const read = () => {
    for (let count = 0; isOpen; count++) {
      if (count === atOnce) return void setImmediate(read)
      try {
        const messages = socket.receive()
        if (messages === undefined) return
        for (const message of messages) if (isOpen) onMessage(message)
      } catch (error) {
        if (!isLoss(error)) throw error
        onLost()
      }
    }
  }
  // Without a handler the signal would end the process, so it stays for good.
  if (!process.listeners('SIGIO').includes(onSignal)) process.on('SIGIO', onSignal)
  readers.add(read)
  const end = () => {
    isOpen = false
    readers.delete(read)
    socket.close()
  }
  try {
    signalWhenReadable(socket.fd)
    for (const group of groups) socket.join(group)
  } catch (error) {
    end()
    throw error
  }
  return end
}

function isLoss(error: unknown): boolean {
  if (error instanceof MalformedMessage) return true
  return error instanceof SystemCallError && ['ENOBUFS', 'EMSGSIZE'].includes(error.code)
}
