/** Keeps in a file which tokens were allowed, by their hashes: for a control plane that starts while the API server is away. */

import { readFileSync } from 'node:fs'
import { replaceFile } from '../files/replacefile.ts'
import type { Bearers } from '../observe/access/bearers.ts'
import type { Log } from '../observe/log.ts'
import { rawList, rawObject, rawText } from '../text/raw.ts'

const everyMs = 60_000

/** Recalls what the file has, and writes it each minute. The function that it returns ends that. */
export function keepTokens(file: string, bearers: Bearers, log: Log): () => void {
  bearers.recall(read(file))
  const saving = setInterval(() => {
    replaceFile(file, JSON.stringify(bearers.remembered())).catch((error: Error) =>
      log.warn({ file, error: error.message }, 'tokens that are allowed were not written down'),
    )
  }, everyMs)
  return () => clearInterval(saving)
}

function read(file: string) {
  try {
    return rawList(JSON.parse(readFileSync(file, 'utf8'))).map(one => {
      const { hash, node, at } = rawObject(one)
      return { hash: rawText(hash), node: rawText(node) || undefined, at: Number(at) }
    })
  } catch {
    return []
  }
}
