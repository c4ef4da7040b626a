/** Writes files that are replaced as a whole, so that a process that is killed leaves the one before. */

import { mkdir, open, rename } from 'node:fs/promises'
import { dirname } from 'node:path'

export async function replaceFile(file: string, content: Buffer | string): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  const written = await open(`${file}.new`, 'w', 0o600)
  try {
    await written.writeFile(content)
    await written.sync()
  } finally {
    await written.close()
  }
  await rename(`${file}.new`, file)
}
