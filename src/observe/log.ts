/** Structured logs: one JSON object a line on standard error. */

import pino from 'pino'

export const logLevels = ['debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof logLevels)[number]

type Write = (fields: Readonly<Record<string, unknown>>, message: string) => void

export type Log = { readonly [level in LogLevel]: Write }

export function createLog(level: LogLevel): Log {
  const options = { level, base: null, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: levelName } }
  return pino(options, pino.destination(2))
}

function levelName(label: string): { level: string } {
  return { level: label }
}
