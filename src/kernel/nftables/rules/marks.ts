/** Finds which bits of packet and connection marks a rule of anybody's sets, or acts upon. */

import { ctKeys, type Expression, metaKeys, verdictCodes } from './expression.ts'

/**
 * Whether the rule uses one of the bits. Bits that it only preserves, as in `& 0xffffbfff`, do not count, and neither
 * does a rule that accepts packets with them and sets nothing: a firewall lets redirected packets through so, and
 * whoever uses the bit for themselves sets it.
 */
export function usesMark(expressions: readonly Expression[], bits: number): boolean {
  /** Registers that hold a mark, or what is made of one, with the bits that were put on it. */
  const marks = new Map<number, number>()
  const constants = new Map<number, number>()
  const accepts = expressions.some(each => each.name === 'immediate' && each.verdict?.code === verdictCodes.accept)
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
        if (!accepts && marks.has(expression.sreg) && (wordOf(expression.data) & bits) !== 0) return true
        break
      case 'match':
        if (!accepts && isOfMark(expression) && (wordOf(expression.info) & bits) !== 0) return true
        break
      case 'target':
        if (isOfMark(expression) && (wordOf(expression.info) & bits) !== 0) return true
        break
      default:
    }
  }
  return false
}

/** Extensions of xtables in iptables' rules: what they hold begins with the mark. */
function isOfMark({ extension }: { readonly extension: string }): boolean {
  return ['mark', 'MARK', 'connmark', 'CONNMARK'].includes(extension)
}

function wordOf(bytes: Uint8Array | undefined): number {
  return bytes === undefined || bytes.length < 4 ? 0 : Buffer.from(bytes).readUInt32LE()
}
