/** Writes structured logs: one JSON object a line on standard error, limited by object and by kind (rates/lograte.ts). */

import pino from 'pino'
import { printableJson } from '../text/printable.ts'
import { LogRate } from './rates/lograte.ts'
import type { RecentLines } from './recent.ts'

export const logLevels = ['debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof logLevels)[number]

type Fields = Readonly<Record<string, unknown>>
type Write = (fields: Fields, message: string) => void

export type Log = { readonly [level in LogLevel]: Write }

/**
 * @param recent gets a copy of each line
 * @param output takes the lines, each with its newline; default: standard error
 */
export function createLog(level: LogLevel, recent?: RecentLines, output?: (line: string) => void): Log {
  const options = { level, base: null, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: levelName } }
  const put = output ?? linesTo(2)
  const write = (text: string) => {
    const line = printableJson(text)
    recent?.add(line)
    put(line)
  }
  const logger = pino(options, { write })
  const rate = new LogRate()
  const limited =
    (of: Exclude<LogLevel, 'debug'>): Write =>
    (fields, message) => {
      const leftOut = rate.take(message, String(fields.object ?? fields.file ?? ''))
      if (leftOut !== undefined) logger[of](leftOut > 0 ? { ...fields, leftOut } : fields, message)
    }
  // A log at debug level is not limited.
  return {
    debug: (fields, message) => logger.debug(fields, message),
    info: limited('info'),
    warn: limited('warn'),
    error: limited('error'),
  }
}

/** Writes lines there, each with its newline, as `createLog` does. */
export function standardOutput(): (line: string) => void {
  return linesTo(1)
}

/** Characters that may wait to be written. */
const mostWaiting = 4 * 1024 * 1024

/**
 * Waits for nobody: what a full disk or a reader that stands still does not take is tried again with the next line, and left out
 * once too much waits.
 */
function linesTo(fd: number): (line: string) => void {
  const destination = pino.destination({ dest: fd, sync: false, maxLength: mostWaiting })
  const { flushSync } = destination
  // Where nothing can be written, it would go on trying when the process ends, and keep it from that.
  destination.on('error', () => {
    destination.flushSync = () => {}
  })
  destination.on('write', () => {
    destination.flushSync = flushSync
  })
  return line => void destination.write(line)
}

function levelName(label: string): { level: string } {
  return { level: label }
}
