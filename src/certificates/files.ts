/** A certificate that somebody else makes and renews, such as cert-manager, in a directory: a mounted Secret. */

import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Served } from './certificate.ts'

/** One look at `tls.crt` and `tls.key`, which are used when they are others than before. Throws where they do not fit. */
export function certificateFiles(directory: string, use: (served: Served) => void): () => Promise<void> {
  let used: Served | undefined
  return async () => {
    const read = (name: string) => readFile(join(directory, name), 'utf8')
    const [certificate, key] = [await read('tls.crt'), await read('tls.key')]
    if (used?.certificate === certificate && used.key === key) return
    // Between the two readings they may have been replaced.
    if (!new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))) {
      throw new Error(`${join(directory, 'tls.key')} is not the key of tls.crt beside it`)
    }
    used = { certificate, key }
    use(used)
  }
}
