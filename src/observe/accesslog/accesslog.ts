/**
 * Writes the access log of this node's Envoys: a line of JSON for each request or connection that is to be logged, at
 * most so many a second for each Service port, each namespace and all together. Otherwise whoever calls what fails would fill everybody's
 * log.
 */

import { namespaceOf, portPartOf, serviceKeyOf } from '../../plan/ports/port.ts'
import { type Problem, problem } from '../../services/problem.ts'
import { printableJson } from '../../text/printable.ts'
import { Buckets } from '../rates/buckets.ts'
import { NamespaceLimit } from '../rates/namespacelimit.ts'
import { type LogRecord, readRecords } from './records.ts'

export interface AccessLogOptions {
  /** Lines a second of a Service port; ten times as many at once. */
  readonly rate: number
  /** The id of the Service port with this address, written as `hostPort` does; undefined where there is none. */
  readonly servicePortAt: (frontend: string) => string | undefined
  /** Takes the lines, each with its newline. */
  readonly write: (line: string) => void
  /** Called for each record that becomes a line, with its Service port or address. */
  readonly onRecord?: (owner: string, record: LogRecord) => void
  /** Called for each record that may say more than a line does, with its Service port. */
  readonly onObservation?: (servicePort: string, record: LogRecord) => void
  /** A line of the Service port was left out. */
  readonly onLeftOut: (servicePort: string) => void
  readonly onProblems: (origin: string, problems: readonly Problem[]) => void
  /** The problem ends after so long without a line that was left out, in milliseconds. Default a minute. */
  readonly calmMs?: number
}

/** The Service ports of a namespace together may have so many times the lines of one. */
const portsOfNamespace = 5
const burstSeconds = 10
const aMinute = 60e3

const numbers = new Set(['bytesReceived', 'bytesSent', 'durationMs', 'code', 'attempts'])
/** How Envoy writes an empty value. */
const none = '-'

export class AccessLog {
  readonly #options: AccessLogOptions
  readonly #ofPort: Buckets
  readonly #ofNamespaces: NamespaceLimit
  /** Lines left out of each Service port since its last line. */
  readonly #leftOut = new Map<string, number>()
  /** Timers that end the problem of each Service port. */
  readonly #calm = new Map<string, NodeJS.Timeout>()

  constructor(options: AccessLogOptions) {
    this.#options = options
    const bucket = (rate: number) => ({ burst: rate * burstSeconds, refillMs: 1000 / rate })
    this.#ofPort = new Buckets(bucket(options.rate))
    this.#ofNamespaces = new NamespaceLimit(bucket(options.rate * portsOfNamespace))
  }

  /** @param request as an Envoy sent it (records.ts) @throws where it is none */
  take(request: Uint8Array): void {
    for (const record of readRecords(request)) this.#takeRecord(record)
  }

  stop(): void {
    for (const timer of this.#calm.values()) clearTimeout(timer)
  }

  #takeRecord(record: LogRecord): void {
    const owner = this.#ownerOf(record)
    if (record.isObservation && isServicePort(owner)) this.#options.onObservation?.(owner, record)
    if (!record.isLine) return
    const isWithin = this.#ofPort.take(owner) !== undefined && this.#ofNamespaces.take(namespaceOf(owner))
    const leftOut = this.#leftOut.get(owner) ?? 0
    if (!isWithin) {
      this.#leftOut.set(owner, leftOut + 1)
      this.#options.onLeftOut(owner)
      this.#tell(owner)
      return
    }
    this.#leftOut.delete(owner)
    this.#options.onRecord?.(owner, record)
    this.#options.write(lineOf(record, owner, leftOut))
  }

  /** The address, where no Service port has it any more. */
  #ownerOf({ owner: [service = none, frontend = none] }: LogRecord): string {
    return service === none ? (this.#options.servicePortAt(frontend) ?? frontend) : service
  }

  #tell(owner: string): void {
    const { onProblems, rate, calmMs = aMinute } = this.#options
    const origin = `access log ${owner}`
    const running = this.#calm.get(owner)
    if (running) return void running.refresh()
    onProblems(origin, [leftOutProblem(owner, rate)])
    const over = () => {
      this.#calm.delete(owner)
      this.#leftOut.delete(owner)
      onProblems(origin, [])
    }
    this.#calm.set(owner, setTimeout(over, calmMs).unref())
  }
}

function lineOf(record: LogRecord, owner: string, leftOut: number): string {
  const named = record.fields().filter(([name]) => name !== 'sent')
  const fields = Object.fromEntries(named.map(([name, text]) => [name, typed(name, text)]))
  const line = { ...fields, ...(isServicePort(owner) && { service: owner }), ...(leftOut > 0 && { leftOut }) }
  return printableJson(`${JSON.stringify(line)}\n`)
}

function isServicePort(owner: string): boolean {
  return owner.includes('/')
}

function typed(name: string, text: string): string | number | null {
  // Envoy itself writes so that there are no flags.
  if (text === none && name !== 'flags') return null
  return numbers.has(name) ? Number(text) : text
}

function leftOutProblem(owner: string, rate: number): Problem {
  const isService = isServicePort(owner)
  const object = isService ? `Service ${serviceKeyOf(owner)}` : 'access log'
  const whose = isService ? `port ${portPartOf(owner)}` : 'what has no Service'
  return problem(
    'LP306',
    object,
    `${whose} has more lines in the access log of this node than ${rate} a second, or than its namespace or all have left it`,
    'the rest is left out and counted (lightpath_access_log_left_out_total): see why its requests fail, set access-log: false, or raise --access-log-rate',
  )
}
