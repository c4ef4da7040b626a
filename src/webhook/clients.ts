/** Who may ask the webhook: those with a certificate of authorities in a file. */

import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { createSecureContext, TLSSocket } from 'node:tls'

export interface ClientsOptions {
  /** Certificates of the authorities, PEM. */
  readonly file: string
  /** Common names of those who may ask; none for all whom the authorities signed. */
  readonly names: readonly string[]
}

export class Clients {
  readonly #options: ClientsOptions
  #authorities: string

  /** @throws Error where the file cannot be read or has no certificates */
  constructor(options: ClientsOptions) {
    this.#options = options
    this.#authorities = readAuthorities(options.file)
  }

  get authorities(): string {
    return this.#authorities
  }

  /** Whether the file has others than before. @throws Error as the constructor; those from before stay */
  look(): boolean {
    const before = this.#authorities
    this.#authorities = readAuthorities(this.#options.file)
    return this.#authorities !== before
  }

  mayAsk(socket: Socket): boolean {
    if (!(socket instanceof TLSSocket && socket.authorized)) return false
    const { names } = this.#options
    const name: unknown = socket.getPeerCertificate().subject?.CN
    return names.length === 0 || (typeof name === 'string' && names.includes(name))
  }
}

function readAuthorities(file: string): string {
  const text = readFileSync(file, 'utf8')
  try {
    if (!text.includes('-----BEGIN CERTIFICATE-----')) throw new Error('no certificate')
    createSecureContext({ ca: text })
    return text
  } catch {
    throw new Error(`${file} has no certificates of authorities (PEM)`)
  }
}
