/**
 * nft as a console (`nft -i`), which takes one transaction after the other, each as a line.
 *
 * A program for each takes 15 ms more: it is started, and where elements were removed its end waits for the kernel to
 * free them, when the change has long been in effect. A console says nothing where all is well, so each transaction is
 * followed by a line that no nft understands: it is in effect when the complaint about that line, and nothing else, has
 * come. Whatever else it says, and where it ends, the program is given the same transaction, and says what is wrong
 * with it. So one that is no console (built without, without permission) is asked nothing.
 */

import { type ChildProcessByStdio, spawn } from 'node:child_process'
import type { Readable, Writable } from 'node:stream'
import { type CommandPrefix, commandTimeoutMs } from './command.ts'
import { Nft } from './nft.ts'

/** A console reads its input byte by byte: from some 12,000 on the program is faster. */
const maxLength = 8192

const question = '?'
const complaint = /^Error: [^\n]*\n\?\n\^\n$/
const endsWithComplaint = /\n\?\n\^\n$/
const keptLength = 4096

export class ConsoleNft extends Nft {
  readonly #prefix: CommandPrefix
  #console: Console | undefined
  #isClosed = false

  constructor(prefix: CommandPrefix = []) {
    super(prefix)
    this.#prefix = prefix
  }

  override async apply(text: string): Promise<void> {
    const isApplied = text.length <= maxLength && (await this.#console?.take(text))
    if (!isApplied) await super.apply(text)
    if (!this.#isClosed && (this.#console?.hasEnded ?? true)) this.#console = new Console(this.#prefix)
  }

  /** Ends the console; there is no other. */
  close(): void {
    this.#isClosed = true
    this.#console?.end()
  }
}

class Console {
  readonly #child: ChildProcessByStdio<Writable, null, Readable>
  #said = ''
  #answer = Promise.withResolvers<boolean>()
  #isReady = false
  hasEnded = false

  constructor(prefix: CommandPrefix) {
    const [program, ...args] = [...prefix, 'nft', '-i'] as unknown as [string, ...string[]]
    // In ~/.nft.history it would keep what it was told.
    const env = { ...process.env, HOME: '/dev/null' }
    this.#child = spawn(program, args, { stdio: ['pipe', 'ignore', 'pipe'], env })
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => this.#hear(text))
    this.#child.stdin.on('error', () => {})
    this.#child.on('error', () => this.#ended())
    this.#child.on('close', () => this.#ended())
    void this.#tell('').then(isTaken => {
      this.#isReady = isTaken
    })
  }

  /** False where it may not have applied it. One at a time. */
  async take(text: string): Promise<boolean> {
    return this.#isReady && (await this.#tell(text.replaceAll('\n', ';')))
  }

  end(): void {
    this.#child.kill('SIGKILL')
  }

  async #tell(line: string): Promise<boolean> {
    if (this.hasEnded) return false
    const timer = setTimeout(() => this.end(), commandTimeoutMs)
    this.#said = ''
    this.#answer = Promise.withResolvers()
    this.#child.stdin.write(`${line}\n${question}\n`)
    try {
      return await this.#answer.promise
    } finally {
      clearTimeout(timer)
    }
  }

  #hear(text: string): void {
    this.#said = (this.#said + text).slice(-keptLength)
    if (endsWithComplaint.test(this.#said)) this.#answer.resolve(complaint.test(this.#said))
  }

  #ended(): void {
    this.hasEnded = true
    this.#answer.resolve(false)
  }
}
