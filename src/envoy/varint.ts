/** Protobuf's encoding of lengths and tags: seven bits a byte (https://protobuf.dev/programming-guides/encoding/#varints). */

/** How many bytes a number takes that is not negative and below 2^31. */
export function varintLength(value: number): number {
  let length = 1
  for (let rest = value >> 7; rest > 0; rest >>= 7) length++
  return length
}

/** Returns the place behind it. */
export function writeVarint(bytes: Uint8Array, start: number, value: number): number {
  let [at, rest] = [start, value]
  for (; rest >= 1 << 7; rest >>= 7) bytes[at++] = (rest & 127) | 128
  bytes[at++] = rest
  return at
}
