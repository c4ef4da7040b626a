/** Keeps the certificate that is served in a directory, for a server that starts while the API server is away. */

import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { replaceFile } from '../files/replacefile.ts'
import type { Log } from '../observe/log.ts'
import type { Certificates, Served } from './certificate.ts'
import { certificateFiles } from './files.ts'

const retryMs = 5000

/**
 * The first check ends when there is a certificate: of `certificates`, else of the directory. It tries again without end.
 * @param directory undefined to keep none
 */
export function keptCertificate(certificates: Certificates, directory: string | undefined, log: Log): Certificates {
  return use => {
    let isServing = false
    let served: Served | undefined
    const check = certificates(found => {
      served = found
      use(found)
    })
    const checkAndKeep = async () => {
      const before = served
      await check()
      isServing = true
      if (served === before || !served || directory === undefined) return
      await keep(directory, served).catch((error: Error) =>
        log.warn({ directory, error: error.message }, 'the certificate was not kept'),
      )
    }
    return async () => {
      if (isServing) return checkAndKeep()
      while (!isServing) {
        try {
          await checkAndKeep()
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

/** Each is whole; a certificate that does not fit the key beside it is not read (files.ts). */
async function keep(directory: string, { certificate, key }: Served): Promise<void> {
  await replaceFile(join(directory, 'tls.crt'), certificate)
  await replaceFile(join(directory, 'tls.key'), key)
}
