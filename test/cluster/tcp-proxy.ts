/** A TCP proxy on loopback whose connections a test can cut, stall and refuse: what networks do to a watch. */

import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'

export class TcpProxy {
  readonly #targetPort: number
  readonly #server: Server
  readonly #pairs = new Set<readonly [client: Socket, target: Socket]>()
  #stalled = false
  /** How long each new connection waits before a byte goes through. */
  delayMs = 0

  constructor(targetPort: number) {
    this.#targetPort = targetPort
    this.#server = createServer(client => this.#accept(client))
  }

  async start(): Promise<number> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return (this.#server.address() as { port: number }).port
  }

  async stop(): Promise<void> {
    this.cut()
    const closed = once(this.#server, 'close')
    this.#server.close()
    await closed
  }

  /** Ends every connection with a reset. */
  cut(): void {
    for (const [client, target] of this.#pairs) {
      client.resetAndDestroy()
      target.destroy()
    }
  }

  /** Every connection stays open, also new ones, and not a byte goes through. */
  stall(): void {
    this.#stalled = true
    for (const [client, target] of this.#pairs) hold(client, target)
  }

  /** New connections go through again; those that were stalled never do. */
  pass(): void {
    this.#stalled = false
  }

  #accept(client: Socket): void {
    client.on('error', () => {})
    if (this.delayMs > 0) setTimeout(() => this.#join(client), this.delayMs)
    else this.#join(client)
  }

  #join(client: Socket): void {
    const target = connect(this.#targetPort, '127.0.0.1')
    const pair = [client, target] as const
    this.#pairs.add(pair)
    for (const socket of pair) {
      socket.on('error', () => {})
      socket.on('close', () => {
        this.#pairs.delete(pair)
        client.destroy()
        target.destroy()
      })
    }
    client.pipe(target)
    target.pipe(client)
    if (this.#stalled) hold(client, target)
  }
}

function hold(client: Socket, target: Socket): void {
  client.unpipe(target)
  target.unpipe(client)
  client.pause()
  target.pause()
}
