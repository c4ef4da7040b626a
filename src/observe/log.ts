/** Structured logs: one JSON object a line on standard error. */

import pino from 'pino'
import type { RecentLines } from './recent.ts'

export const logLevels = ['debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof logLevels)[number]

type Write = (fields: Readonly<Record<string, unknown>>, message: string) => void

export type Log = { readonly [level in LogLevel]: Write }

/** @param recent gets a copy of each line */
export function createLog(level: LogLevel, recent?: RecentLines): Log {
  const options = { level, base: null, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: levelName } }
  const standardError = pino.destination(2)
  const write = (line: string) => {
    recent?.add(line)
    standardError.write(line)
  }
  return pino(options, { write })
}

function levelName(label: string): { level: string } {
  return { level: label }
}
