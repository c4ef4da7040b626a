/** Keeps the certificate that is served in a directory, for a server that starts while the API server is away. */

import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../observe/log.ts'
import type { Certificates, Served } from './certificate.ts'
import { certificateFiles } from './files.ts'

const retryMs = 5000

/**
 * The first look ends when there is a certificate: of `certificates`, else of the directory. It tries again without end.
 * @param directory undefined to keep none
 */
export function keptCertificate(certificates: Certificates, directory: string | undefined, log: Log): Certificates {
  return use => {
    let isServing = false
    let served: Served | undefined
    const look = certificates(found => {
      served = found
      use(found)
    })
    const lookAndKeep = async () => {
      const before = served
      await look()
      isServing = true
      if (served === before || !served || directory === undefined) return
      await keep(directory, served).catch((error: Error) =>
        log.warn({ directory, error: error.message }, 'the certificate was not kept'),
      )
    }
    return async () => {
      if (isServing) return lookAndKeep()
      while (!isServing) {
        try {
          await lookAndKeep()
        } catch (error) {
          isServing = await useKept(directory, use)
          const goesOn = isServing ? 'the one that was kept is served' : 'it is tried again'
          log.warn({ error: (error as Error).message }, `the certificate cannot be looked after; ${goesOn}`)
          if (!isServing) await sleep(retryMs)
        }
      }
    }
  }
}

/** Resolves to whether there was one. */
async function useKept(directory: string | undefined, use: (served: Served) => void): Promise<boolean> {
  if (directory === undefined) return false
  return certificateFiles(directory, use)().then(
    () => true,
    () => false,
  )
}

async function keep(directory: string, { certificate, key }: Served): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  // Each is whole; a certificate that does not fit the key beside it is not read (files.ts).
  for (const [name, text] of [
    ['tls.crt', certificate],
    ['tls.key', key],
  ] as const) {
    const file = join(directory, name)
    await writeFile(`${file}.new`, text, { mode: 0o600 })
    await rename(`${file}.new`, file)
  }
}
