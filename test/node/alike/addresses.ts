/** Each input has a Service for each way. */

const thirdByte = { kernel: 16, envoy: 32 } as const
export type Way = keyof typeof thirdByte

export function addressOf(way: Way, index: number): string {
  return `10.96.${thirdByte[way] + Math.floor(index / 250)}.${(index % 250) + 1}`
}
