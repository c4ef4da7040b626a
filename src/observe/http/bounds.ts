/** Limits what an HTTP server gives to any client: little memory and little time, and to no peer what others need. */

import type { ServerOptions } from 'node:http'
import type { Server } from 'node:net'
import { Connections } from './connections.ts'
import { Shares } from './shares.ts'

export const requestBounds = {
  maxHeaderSize: 16 * 1024,
  /** Counts also for a connection on which nothing has come yet. */
  headersTimeout: 5000,
  requestTimeout: 10_000,
  keepAliveTimeout: 15_000,
  connectionsCheckingInterval: 1000,
} satisfies ServerOptions

/** Ends a connection on which nothing moves, such as an answer that nobody reads. */
export const silenceMs = 30_000

/** The number of all connections, and of those of one address. */
const mostConnections = { total: 1024, perPeer: 32 }

/** The addresses from which the kubelet probes what is on the host's network. */
const ownAddresses = new Set(['127.0.0.1', '::ffff:127.0.0.1', '::1'])

/** Connections of several servers together, of which each owner's have a share. */
export interface SharedBound {
  readonly connections: Connections
  readonly owner: string
}

/**
 * Closes connections beyond the bounds as they come, or of whoever has most. This host has connections of its own, which
 * nobody else can take.
 */
export function limitConnections(server: Server, { total, perPeer } = mostConnections, shared?: SharedBound): void {
  const all = new Connections(total)
  const others = new Shares(Infinity, perPeer)
  const own = new Shares(perPeer, perPeer)
  server.on('connection', socket => {
    // Undefined for a Unix socket, whose directory decides who may come.
    const peer = socket.remoteAddress
    if (peer === undefined) return
    const isOwn = ownAddresses.has(peer)
    const shares = isOwn ? own : others
    if (!shares.take(peer)) return void socket.destroy()
    socket.once('close', () => shares.give(peer))
    if (isOwn) return
    all.admit(socket, peer)
    if (!socket.destroyed) shared?.connections.admit(socket, shared.owner)
  })
}
