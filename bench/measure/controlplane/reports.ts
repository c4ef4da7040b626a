/** What a program prints: reports as JSON, a line each. */

import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'

/** Returns what reads the next one; it rejects where the program has ended. */
export function readReports(stdout: Readable, logFile: string): <T>() => Promise<T> {
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]()
  return async <T>() => {
    const { done, value } = await lines.next()
    if (done) throw new Error(`the program ended without a report; see ${logFile}`)
    return JSON.parse(value) as T
  }
}
