/**
 * Reads the records of an Envoy's access log (envoy/resources/accesslog.ts): OpenTelemetry's ExportLogsServiceRequest,
 * no further than needed. When a Service port fails all the time most of its lines are left out, and of such a line
 * only the owner is read, and of the default log its flags and code.
 * https://github.com/open-telemetry/opentelemetry-proto/blob/v1.10.0/opentelemetry/proto/logs/v1/logs.proto
 */

import { BinaryReader, WireType } from '@bufbuild/protobuf/wire'
import { lastOfBoth, lossFlags, observationMark, ownerNames, separator } from './format.ts'

export interface LogRecord {
  /** The id of a Service port, and the address that the client connected to. */
  readonly owner: readonly string[]
  /** It may say more than a line does (observations.ts). */
  readonly isObservation: boolean
  readonly isLine: boolean
  /** Names and values in order, with `time` (RFC 3339) behind the owner. */
  fields(): readonly (readonly [name: string, value: string])[]
}

/** The failure in a record of HTTP; undefined where there is none. */
export interface Failure {
  readonly method: string
  /** An endpoint ended the connection before it had answered (UC). */
  readonly isCut: boolean
  /** The endpoint, as `hostPort` writes it, to which there was no connection (UF). */
  readonly unreached?: string
}

/** Finds a failure that an endpoint, or Envoy in its place, answered with 5xx. */
export function failureOf(record: LogRecord): Failure | undefined {
  const { code, method = '', flags = '', endpoint } = Object.fromEntries(record.fields())
  if (!(Number(code) >= 500)) return undefined
  const each = flags.split(',')
  const unreached = each.includes('UF') && endpoint !== undefined && { unreached: endpoint }
  return { method, isCut: each.includes('UC'), ...unreached }
}

/** Field numbers. */
const resourceLogs = 1
const scopeLogs = 2
const logRecords = 2
const timeUnixNano = 1
const attributes = 6
const key = 1
const value = 2
const stringValue = 1

/** @throws where the bytes are no protobuf */
export function* readRecords(request: Uint8Array): Iterable<LogRecord> {
  for (const resource of submessages(request, resourceLogs)) {
    for (const scope of submessages(resource, scopeLogs)) {
      for (const record of submessages(scope, logRecords)) yield read(record)
    }
  }
}

/** Response flags of clients that went away: by themselves they are no error. */
const clientWent: readonly string[] = ['DC', 'DR']

const ownerFields = ownerNames.length

function read(record: Uint8Array): LogRecord {
  const attribute = submessage(record, attributes)
  const values = text(submessage(attribute, value), stringValue)
  const beginning = values.split(separator, ownerFields + 1)
  const isMarked = beginning[ownerFields] === observationMark
  const names = text(attribute, key)
  const ofEach = () => [names.split(separator), values.split(separator)] as const
  // Only a record that may be of both is read further before it is known whether it becomes a line.
  const both = !isMarked && names.endsWith(`${separator}${lastOfBoth}`) ? ofEach() : undefined
  return {
    owner: beginning.slice(0, ownerFields),
    ...(both ? kindsOf(...both) : { isObservation: isMarked, isLine: !isMarked }),
    fields: () => {
      const [order, each] = both ?? ofEach()
      const named = order.map((name, i) => [name, each[i] ?? ''] as const)
      return [...named.slice(0, ownerFields), ['time', timeOf(record)], ...named.slice(ownerFields)]
    },
  }
}

function kindsOf(names: readonly string[], values: readonly string[]): Pick<LogRecord, 'isObservation' | 'isLine'> {
  const [flags = '', code] = ['flags', 'code'].map(name => values[names.indexOf(name)])
  const each = flags.split(',')
  return {
    isObservation: lossFlags.some(flag => each.includes(flag)),
    isLine: Number(code) >= 500 || !each.every(flag => clientWent.includes(flag)),
  }
}

function timeOf(record: Uint8Array): string {
  const reader = new BinaryReader(record)
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag()
    if (number === timeUnixNano && type === WireType.Bit64) return rfc3339(BigInt(reader.fixed64()))
    reader.skip(type, number)
  }
  return rfc3339(0n)
}

function rfc3339(nanoseconds: bigint): string {
  return new Date(Number(nanoseconds / 1_000_000n)).toISOString()
}

function text(bytes: Uint8Array, field: number): string {
  // Bytes that are no UTF-8 become U+FFFD: a client may write any bytes.
  return Buffer.from(submessage(bytes, field)).toString('utf8')
}

const nothing = new Uint8Array()

function submessage(bytes: Uint8Array, field: number): Uint8Array {
  for (const found of submessages(bytes, field)) return found
  return nothing
}

/** Yields the values of a length-delimited field, which are views of the same memory. */
function* submessages(bytes: Uint8Array, field: number): Iterable<Uint8Array> {
  const reader = new BinaryReader(bytes)
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag()
    if (number === field && type === WireType.LengthDelimited) yield reader.bytes()
    else reader.skip(type, number)
  }
}
