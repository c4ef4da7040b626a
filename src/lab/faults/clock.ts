/** A clock for programs that use the C library, by libfaketime: not for those in Go, which read the kernel's without it. */

import { existsSync, writeFileSync } from 'node:fs'

const library = `/usr/lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu/faketime/libfaketimeMT.so.1`

export const canFakeClock = existsSync(library)

export class FakeClock {
  /** Of programs that are to have it. */
  readonly env: Readonly<Record<string, string>>
  readonly #file: string

  /** @param file that says what it shows */
  constructor(file: string) {
    this.#file = file
    this.set('+0')
    this.env = {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_CACHE_DURATION: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    }
  }

  /** As far from the kernel's: `-1h`. Programs see it within a second. */
  set(offset: string): void {
    writeFileSync(this.#file, `${offset}\n`)
  }
}
