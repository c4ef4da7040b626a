/** Numbers of the kernel's in nft's words. */

import { protocolNumbers, type VerdictData, verdictCodes } from '../rules/expression.ts'

const protocolTexts = new Map<number, string>(Object.entries(protocolNumbers).map(([name, number]) => [number, name]))

export function protocolName(number: number): string {
  return protocolTexts.get(number) ?? String(number)
}

/** `goto refuse` */
export function verdictText({ code, chain }: VerdictData): string {
  const [verb] = Object.entries(verdictCodes).find(([, number]) => number === code) ?? ['[verdict]']
  return chain === undefined ? verb : `${verb} ${chain}`
}

/** 5,400,000 ms → `1h30m` */
export function durationText(milliseconds: number): string {
  const seconds = Math.floor(milliseconds / 1000)
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
    [milliseconds % 1000, 'ms'],
  ] as const
  return parts.map(([count, unit]) => (count === 0 ? '' : `${count}${unit}`)).join('')
}
