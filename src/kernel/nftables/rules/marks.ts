/** Which bits of packet and connection marks a rule of anybody's sets or asks for. */

import { ctKeys, type Expression, metaKeys } from './expression.ts'

/** Bits that it only leaves alone, as in `& 0xffffbfff`, do not count. */
export function usesMark(expressions: readonly Expression[], bits: number): boolean {
  /** Registers that hold a mark, or what is made of one, with the bits that were put on it. */
  const marks = new Map<number, number>()
  const constants = new Map<number, number>()
  for (const expression of expressions) {
    switch (expression.name) {
      case 'meta':
      case 'ct': {
        const isMark = expression.key === (expression.name === 'meta' ? metaKeys.mark : ctKeys.mark)
        if (expression.sreg !== undefined) {
          const written = marks.get(expression.sreg) ?? constants.get(expression.sreg) ?? 0
          if (isMark && (written & bits) !== 0) return true
        } else if (isMark) marks.set(expression.dreg!, 0)
        else marks.delete(expression.dreg!)
        break
      }
      case 'immediate':
        if (expression.data) constants.set(expression.dreg, wordOf(expression.data))
        break
      case 'bitwise': {
        const before = marks.get(expression.sreg)
        if (before === undefined) break
        marks.set(expression.dreg, before | wordOf(expression.xor))
        break
      }
      case 'cmp':
        if (marks.has(expression.sreg) && (wordOf(expression.data) & bits) !== 0) return true
        break
      case 'match':
      case 'target':
        if (isOfMark(expression.extension) && (wordOf(expression.info) & bits) !== 0) return true
        break
      default:
    }
  }
  return false
}

/** Extensions of xtables in iptables' rules: what they hold begins with the mark. */
function isOfMark(extension: string): boolean {
  return ['mark', 'MARK', 'connmark', 'CONNMARK'].includes(extension)
}

function wordOf(bytes: Uint8Array | undefined): number {
  return bytes === undefined || bytes.length < 4 ? 0 : Buffer.from(bytes).readUInt32LE()
}
