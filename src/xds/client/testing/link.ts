/** A connection for tests: a model Envoy and its server's client state, with the messages between them moved by the test. */

import assert from 'node:assert/strict'
import type { ResourceRef, TypeUrl } from '../../../envoy/resource.ts'
import { ResourceStore } from '../../store.ts'
import { envoyTypes } from '../../types.ts'
import { Client, type ClientOptions } from '../client.ts'
import type { ClientEvents, Nack, VersionedRef } from '../messages.ts'
import { ModelEnvoy } from './envoy.ts'

export class Link {
  readonly store: ResourceStore
  readonly envoy = new ModelEnvoy()
  readonly acknowledged: VersionedRef[] = []
  readonly gone: ResourceRef[] = []
  nacks: Nack[] = []
  readonly ignored: string[] = []
  settled = 0
  active = 0
  readonly unknown: ResourceRef[] = []
  reconnects = 0
  client: Client
  readonly #options: ClientOptions

  constructor(clientOptions: ClientOptions = { types: envoyTypes }, store = new ResourceStore()) {
    this.store = store
    this.#options = clientOptions
    this.store.onChange(changed => this.client.changed(changed))
    this.client = this.#connect()
  }

  #connect(): Client {
    const events: ClientEvents = {
      acknowledged: resources => this.acknowledged.push(...resources),
      gone: refs => this.gone.push(...refs),
      nacked: nack => this.nacks.push(nack),
      settled: () => this.settled++,
      active: () => this.active++,
      unknown: refs => this.unknown.push(...refs),
      ignored: (_, reason) => this.ignored.push(reason),
    }
    this.envoy.connect()
    return new Client(this.store, events, this.#options)
  }

  reconnect(): void {
    this.reconnects++
    this.nacks = []
    this.client = this.#connect()
  }

  send(): boolean {
    const response = this.client.next()
    if (response) this.envoy.deliver(response, this.client)
    return response !== undefined
  }

  hear(): void {
    const request = this.envoy.requests.shift()
    if (request) this.client.request(request)
  }

  /** Runs until nobody has anything to send. As in the server, a client that had nothing to send is not asked twice. */
  drain(): void {
    for (let step = 0; step < 100_000; step++) {
      while (this.send());
      const isQuiet = this.envoy.requests.length + this.envoy.inbox.length === 0
      // A cluster that changed just before a reconnect gets no endpoints, since Envoy does not ask for them.
      if (isQuiet && !(this.reconnects > 0 && this.envoy.timeOut())) return
      this.hear()
      this.envoy.receive(this.nacks)
    }
    assert.fail('server and client never come to rest')
  }

  /** Runs on, to where Envoy has given up the filters of removed listeners. */
  endDrains(): void {
    this.drain()
    this.envoy.endDrains()
    this.drain()
  }

  version(typeUrl: TypeUrl, name: string): string | undefined {
    return this.client.acknowledgedVersion({ typeUrl, name })
  }
}
