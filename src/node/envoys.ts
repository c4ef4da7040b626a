/** The Envoys that are connected to this node's agent: what they are, what they have, and whether they fit it. */

import { isSupported, minimumVersion } from '../envoy/find.ts'
import type { ResourceRef } from '../envoy/resource.ts'
import { type ClientAddress, clientAddressKey } from '../services/clientaddress.ts'
import { type Problem, problem } from '../services/problem.ts'
import type { ClientInfo } from '../xds/server.ts'
import { bootstrapProblems, type ClientAddressChoice } from './clientaddress.ts'

export interface EnvoysOptions {
  /** What their bootstraps have to fit. */
  readonly clientAddress: ClientAddressChoice
  /** The version of a resource that a connected client has acknowledged. */
  readonly acknowledgedVersion: (clientId: number, ref: ResourceRef) => string | undefined
  readonly onProblems: (origin: string, problems: readonly Problem[]) => void
}

export interface ConnectedEnvoy extends ClientInfo {
  readonly connectedSince: Date
}

export class Envoys {
  readonly #options: EnvoysOptions
  readonly #connected = new Map<number, ConnectedEnvoy>()
  #clientAddress: ClientAddressChoice
  #answers = false

  constructor(options: EnvoysOptions) {
    this.#options = options
    this.#clientAddress = options.clientAddress
  }

  get all(): readonly ConnectedEnvoy[] {
    return [...this.#connected.values()]
  }

  /** What the bootstraps of the connected ones are for. */
  get bootstraps(): readonly ClientAddress[] {
    return this.all.map(bootstrapOf)
  }

  /** One is connected, and canary requests are answered. */
  get isUp(): boolean {
    return this.#answers && this.#connected.size > 0
  }

  connected(client: ClientInfo): void {
    this.#connected.set(client.id, { ...client, connectedSince: new Date() })
    this.#report()
  }

  disconnected(clientId: number): void {
    this.#connected.delete(clientId)
    this.#report()
  }

  setAnswers(answers: boolean): void {
    this.#answers = answers
  }

  setClientAddress(choice: ClientAddressChoice): void {
    this.#clientAddress = choice
    this.#report()
  }

  /** Whether each has acknowledged a version of it; false with none connected. */
  have(ref: ResourceRef): boolean {
    const versions = this.acknowledged(ref)
    return versions.length > 0 && !versions.includes(undefined)
  }

  /** The version that each has acknowledged. */
  acknowledged(ref: ResourceRef): readonly (string | undefined)[] {
    return [...this.#connected.keys()].map(id => this.#options.acknowledgedVersion(id, ref))
  }

  #report(): void {
    this.#options.onProblems('Envoy version', this.#versionProblems())
    const bootstraps = this.all.flatMap(envoy =>
      bootstrapProblems(this.#clientAddress, envoy.nodeId, bootstrapOf(envoy)),
    )
    this.#options.onProblems('Envoy bootstrap', bootstraps)
  }

  /** An older Envoy is told everything all the same: what it does not understand it refuses, and that stays below. */
  #versionProblems(): readonly Problem[] {
    const old = this.all.filter(({ envoyVersion }) => !isSupported(envoyVersion))
    return old.map(({ nodeId, envoyVersion }) => {
      const reason = `its version is ${envoyVersion || 'not told'}, older than ${minimumVersion}`
      return problem(
        'LP302',
        `Envoy ${nodeId}`,
        reason,
        `what it refuses stays in the kernel layer; install ${minimumVersion}`,
      )
    })
  }
}

function bootstrapOf({ metadata }: ClientInfo): ClientAddress {
  return metadata.get(clientAddressKey) === 'preserve' ? 'preserve' : 'forwarded-for'
}
