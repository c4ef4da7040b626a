/**
 * Reads how fast endpoints answer this node's Envoys, from the table that their module keeps in a file
 * (native/latency/latency.h). Reading takes Envoy no time. Envoy's user writes it, so nothing in it is believed but
 * numbers.
 */

import { closeSync, constants, openSync, readSync } from 'node:fs'
import { endianness } from 'node:os'
import { join } from 'node:path'
import { hostPort } from '../../net/address.ts'
import { ipBytes } from '../../net/ipbytes.ts'
import { instances } from './sockets.ts'

export interface EndpointLatency {
  /** Milliseconds until the first byte of an answer; undefined while there was none. */
  readonly ms: number | undefined
  /** The share of tries that fail, 0 to 1. */
  readonly failing: number
  /** Tries that ended since the endpoint is known, and those of them that failed. */
  readonly tries: number
  readonly failures: number
  /** When the last one ended, milliseconds ago. */
  readonly seenMsAgo: number
}

interface Address {
  readonly ip: string
  readonly port: number
}

const rowBytes = 64
const keyBytes = 18
const mostRows = 32_768
const magic = 'LPLAT 1\0'
const isLittle = endianness() === 'LE'

/** Reads what is known of these endpoints, by `hostPort`; an Envoy that has had no try at one says nothing of it. */
export function readLatencies(directory: string, endpoints: readonly Address[]): ReadonlyMap<string, EndpointLatency> {
  const wanted = new Map(endpoints.map(endpoint => namesOf(endpoint)))
  const found = new Map<string, EndpointLatency>()
  if (wanted.size === 0) return found
  const now = process.hrtime.bigint()
  for (const instance of instances) {
    const rows = readRows(join(directory, `endpoints-${instance}`))
    for (let at = 0; at + rowBytes <= rows.length; at += rowBytes) {
      const endpoint = wanted.get(rows.toString('latin1', at, at + keyBytes))
      if (endpoint === undefined) continue
      const seen = latencyIn(rows, at, now)
      const other = found.get(endpoint)
      found.set(endpoint, other ? together(seen, other) : seen)
    }
  }
  return found
}

/** The key of its row, and `hostPort`. Kept: the same endpoints are asked for again and again. */
const names = new WeakMap<Address, readonly [key: string, hostPort: string]>()

function namesOf(endpoint: Address): readonly [key: string, hostPort: string] {
  const kept = names.get(endpoint)
  if (kept) return kept
  const { ip, port } = endpoint
  const made = [keyOf(ip, port), hostPort(ip, port)] as const
  names.set(endpoint, made)
  return made
}

/** The key at the beginning of a row: 16 bytes of address, and the port in the machine's byte order. */
function keyOf(ip: string, port: number): string {
  const bytes = ipBytes(ip)
  const prefix = bytes.length === 4 ? [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff] : []
  const [low, high] = [port & 0xff, port >> 8]
  return String.fromCharCode(...prefix, ...bytes, ...(isLittle ? [low, high] : [high, low]))
}

function latencyIn(rows: Buffer, at: number, now: bigint): EndpointLatency {
  const u64 = (offset: number) => (isLittle ? rows.readBigUInt64LE(at + offset) : rows.readBigUInt64BE(at + offset))
  const failing = isLittle ? rows.readUInt32LE(at + 20) : rows.readUInt32BE(at + 20)
  const nanoseconds = Number(u64(40))
  return {
    ms: nanoseconds === 0 ? undefined : nanoseconds / 1e6,
    failing: Math.min(failing / 65_536, 1),
    tries: Number(u64(48)),
    failures: Number(u64(56)),
    seenMsAgo: Math.max(0, Number(now - u64(32)) / 1e6),
  }
}

/** Joins the readings of two Envoys: the later one knows better. */
function together(a: EndpointLatency, b: EndpointLatency): EndpointLatency {
  const later = a.seenMsAgo < b.seenMsAgo ? a : b
  return { ...later, tries: a.tries + b.tries, failures: a.failures + b.failures }
}

/** Returns the rows without the first, which has their number; empty where there is no such file. */
function readRows(path: string): Buffer {
  let file: number
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch {
    return Buffer.alloc(0)
  }
  try {
    const header = read(file, rowBytes, 0)
    if (header.length < rowBytes || header.toString('latin1', 0, magic.length) !== magic) return Buffer.alloc(0)
    const used = isLittle ? header.readBigUInt64LE(8) : header.readBigUInt64BE(8)
    return read(file, Math.min(Number(used), mostRows) * rowBytes, rowBytes)
  } catch {
    return Buffer.alloc(0)
  } finally {
    closeSync(file)
  }
}

function read(file: number, length: number, from: number): Buffer {
  const bytes = Buffer.alloc(length)
  return bytes.subarray(0, readSync(file, bytes, 0, length, from))
}
