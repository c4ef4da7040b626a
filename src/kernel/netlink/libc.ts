/**
 * System calls by the C library, through `node:ffi`: nothing else in Lightpath calls it.
 *
 * Node.js has no sockets but TCP, UDP and Unix ones. Every call here returns at once (sockets are non-blocking, `poll`
 * has a time), and no call is given a length that is not its buffer's. Structures are little-endian and of the kernel's
 * generic layout, which x64 and arm64 share.
 */

import { closeSync, openSync } from 'node:fs'
import { constants } from 'node:os'
import { type Problem, problem } from '../../services/problem.ts'

type Bytes = Uint8Array
type Call<A extends readonly unknown[]> = (...args: A) => number

interface Functions {
  readonly socket: Call<[number, number, number]>
  readonly bind: Call<[number, Bytes, number]>
  readonly connect: Call<[number, Bytes, number]>
  readonly setsockopt: Call<[number, number, number, Bytes, number]>
  readonly getsockopt: Call<[number, number, number, Bytes, Bytes]>
  readonly send: Call<[number, Bytes, bigint, number]>
  readonly recv: Call<[number, Bytes, bigint, number]>
  readonly poll: Call<[Bytes, bigint, number]>
  readonly fcntl: Call<[number, number, number]>
  readonly close: Call<[number]>
  readonly setns: Call<[number, number]>
  readonly unshare: Call<[number]>
  readonly malloc_trim: Call<[bigint]>
}

/** The part of `node:ffi` (Node.js 26) that is used. */
interface Ffi {
  dlopen(
    path: string,
    definitions: Readonly<Record<string, { readonly arguments: readonly string[]; readonly return: string }>>,
  ): { readonly functions: unknown }
  getInt32(pointer: bigint, offset: number): number
}

interface Libc extends Functions {
  errno(): number
}

const library = 'libc.so.6'
/** Only the lower half of a longer result is read: no buffer here has 2 GiB. */
const shapes: Readonly<Record<keyof Functions, readonly string[]>> = {
  socket: ['i32', 'i32', 'i32'],
  bind: ['i32', 'buffer', 'u32'],
  connect: ['i32', 'buffer', 'u32'],
  setsockopt: ['i32', 'i32', 'i32', 'buffer', 'u32'],
  getsockopt: ['i32', 'i32', 'i32', 'buffer', 'buffer'],
  send: ['i32', 'buffer', 'u64', 'i32'],
  recv: ['i32', 'buffer', 'u64', 'i32'],
  poll: ['buffer', 'u64', 'i32'],
  fcntl: ['i32', 'i32', 'i32'],
  close: ['i32'],
  setns: ['i32', 'i32'],
  unshare: ['i32'],
  malloc_trim: ['u64'],
}

/** A system call that failed. `code` is errno's name, such as `EPERM`. */
export class SystemCallError extends Error {
  readonly call: string
  readonly code: string

  constructor(call: string, code: string) {
    super(`${call}: ${code}`)
    this.name = 'SystemCallError'
    this.call = call
    this.code = code
  }
}

const remedy =
  'run Lightpath with the Node.js 26 that it ships with or a later one, on a Linux with glibc, without --no-experimental-ffi and --permission'

/** This Node.js cannot call the C library. The message says what to do as well. */
export class LibcMissing extends Error {
  readonly reason: string

  constructor(reason: string) {
    super(`${reason}; ${remedy}`)
    this.name = 'LibcMissing'
    this.reason = reason
  }
}

let loaded: Libc | undefined

function libc(): Libc {
  loaded ??= load()
  return loaded
}

function load(): Libc {
  const ffi = withoutWarning(() => process.getBuiltinModule('node:ffi') as unknown as Ffi | undefined)
  if (ffi === undefined) throw new LibcMissing(`Node.js ${process.version} has no module node:ffi`)
  const calls = Object.entries(shapes).map(([name, args]) => [name, { arguments: args, return: 'i32' }] as const)
  try {
    const { functions } = ffi.dlopen(library, {
      ...Object.fromEntries(calls),
      __errno_location: { arguments: [], return: 'pointer' },
    })
    const place = (functions as { __errno_location(): bigint }).__errno_location()
    return Object.assign(Object.create(null), functions, { errno: () => ffi.getInt32(place, 0) }) as Libc
  } catch (error) {
    throw new LibcMissing(`${library} cannot be used by node:ffi: ${error instanceof Error ? error.message : error}`)
  }
}

/** Node.js warns on stderr that the module is experimental, which says nothing to those who run Lightpath. */
function withoutWarning<T>(work: () => T): T {
  const { emitWarning } = process
  process.emitWarning = () => {}
  try {
    return work()
  } finally {
    process.emitWarning = emitWarning
  }
}

/** Says at the start why the kernel cannot be called at all; undefined where it can. */
export function libcProblem(): Problem | undefined {
  try {
    libc()
    return undefined
  } catch (error) {
    if (!(error instanceof LibcMissing)) throw error
    return problem('LP405', 'Node.js', error.reason, remedy)
  }
}

/** Second names of EAGAIN and EOPNOTSUPP. */
const aliases = ['EWOULDBLOCK', 'ENOTSUP']
const names = new Map(
  Object.entries(constants.errno).flatMap(([name, number]) =>
    aliases.includes(name) ? [] : [[number as number, name] as const],
  ),
)

/** `EPERM` for 1. */
export function errnoName(number: number): string {
  return names.get(number) ?? `errno ${number}`
}

const maxInterrupts = 1000

/** Makes the call, again where a signal interrupts it. Returns its result, or errno below zero. */
function attempt(work: (functions: Libc) => number): number {
  const functions = libc()
  for (let interrupts = 0; ; interrupts++) {
    const result = work(functions)
    if (result >= 0) return result
    const errno = functions.errno()
    if (errno !== constants.errno.EINTR || interrupts === maxInterrupts) return -errno
  }
}

/** Makes a call as `attempt`. Throws SystemCallError. */
function call(name: keyof Functions, work: (functions: Libc) => number): number {
  const result = attempt(work)
  if (result < 0) throw new SystemCallError(name, errnoName(-result))
  return result
}

/** SOCK_NONBLOCK and SOCK_CLOEXEC: no child inherits it. */
const socketFlags = 0o4000 | 0o2000000

/** Opens a socket and returns its file descriptor. */
export function openSocket(domain: number, type: number, protocol: number): number {
  return call('socket', ({ socket }) => socket(domain, type | socketFlags, protocol))
}

/** `address` is a `struct sockaddr`, whole. */
export function bindSocket(fd: number, address: Bytes): void {
  call('bind', ({ bind }) => bind(fd, address, address.length))
}

export function connectSocket(fd: number, address: Bytes): void {
  call('connect', ({ connect }) => connect(fd, address, address.length))
}

export function setSocketOption(fd: number, level: number, name: number, value: number): void {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32LE(value)
  call('setsockopt', ({ setsockopt }) => setsockopt(fd, level, name, bytes, bytes.length))
}

/** Reads as many bytes of the option as the kernel has, at most `length`. */
export function socketOption(fd: number, level: number, name: number, length = 4): Buffer {
  const value = Buffer.alloc(length)
  const size = Buffer.alloc(4)
  size.writeUInt32LE(length)
  call('getsockopt', ({ getsockopt }) => getsockopt(fd, level, name, value, size))
  return value.subarray(0, Math.min(length, size.readUInt32LE()))
}

/** Throws SystemCallError: EAGAIN where the socket is full. */
export function sendBytes(fd: number, bytes: Bytes): number {
  return call('send', ({ send }) => send(fd, bytes, BigInt(bytes.length), 0))
}

/** MSG_TRUNC: the length is the whole datagram's, also where the buffer had no room for it. */
const tellWholeLength = 0x20

/**
 * Receives a datagram, as much as the buffer has room for, and returns its whole length; undefined while there is none.
 * Throws SystemCallError.
 */
export function receiveBytes(fd: number, buffer: Bytes): number | undefined {
  const result = attempt(({ recv }) => recv(fd, buffer, BigInt(buffer.length), tellWholeLength))
  // Each conversation ends with it: an error made and thrown would take longer than all the rest.
  if (result === -constants.errno.EAGAIN) return undefined
  if (result < 0) throw new SystemCallError('recv', errnoName(-result))
  return result
}

/**
 * Waits until there is something to receive, and blocks all else meanwhile: only for answers that come at once. False
 * when the time is over.
 */
export function waitReadable(fd: number, milliseconds: number): boolean {
  const entry = Buffer.alloc(8)
  entry.writeInt32LE(fd)
  entry.writeInt16LE(1, 4)
  return call('poll', ({ poll }) => poll(entry, 1n, milliseconds)) > 0
}

const setOwner = 8
const setFlags = 4
const nonBlockingAsync = 0o4000 | 0o20000

/** Has the kernel send this process SIGIO from now on whenever there is something to receive. */
export function signalWhenReadable(fd: number): void {
  call('fcntl', ({ fcntl }) => fcntl(fd, setOwner, process.pid))
  call('fcntl', ({ fcntl }) => fcntl(fd, setFlags, nonBlockingAsync))
}

/** Call it once only: the number may belong to another file afterwards. */
export function closeSocket(fd: number): void {
  call('close', ({ close }) => close(fd))
}

const cloneNewNet = 0x4000_0000

/**
 * Does the work, which must be synchronous, in another network namespace: sockets that it opens stay there. `path` is
 * such as `/var/run/netns/node1`, undefined means this process's own. Takes CAP_SYS_ADMIN.
 */
export function inNetwork<T>(path: string | undefined, work: () => T): T {
  if (path === undefined) return work()
  const there = openSync(path, 'r')
  try {
    return elsewhere(() => call('setns', ({ setns }) => setns(there, cloneNewNet)), work)
  } finally {
    closeSync(there)
  }
}

/** Works as `inNetwork`, in a new namespace, which lives as long as the sockets that are opened in it. */
export function inNewNetwork<T>(work: () => T): T {
  return elsewhere(() => call('unshare', ({ unshare }) => unshare(cloneNewNet)), work)
}

function elsewhere<T>(leave: () => void, work: () => T): T {
  const here = openSync('/proc/thread-self/ns/net', 'r')
  try {
    leave()
    try {
      return work()
    } finally {
      call('setns', ({ setns }) => setns(here, cloneNewNet))
    }
  } finally {
    closeSync(here)
  }
}

/** Gives the system whole pages of memory that malloc holds free, wherever they lie. */
export function trimMemory(): void {
  libc().malloc_trim(0n)
}
