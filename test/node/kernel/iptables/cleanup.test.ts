import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { cleanupIptables } from '../../../../src/kernel/iptables/install.ts'
import { IptablesPrograms } from '../../../../src/kernel/iptables/programs.ts'
import { skip } from './lab.ts'

test('cleanup has nothing to do where the kernel has no ipset', { skip }, async () => {
  const programs = mkdtempSync(join(tmpdir(), 'lightpath-iptables-'))
  try {
    const messages = [
      'ipset v7.17: Cannot open session to kernel.',
      'ipset v6.23: Kernel error received: Invalid argument',
    ]
    for (const message of messages) {
      for (const name of ['iptables-save', 'ip6tables-save']) {
        writeFileSync(join(programs, name), '#!/bin/sh\n', { mode: 0o755 })
      }
      writeFileSync(join(programs, 'ipset'), `#!/bin/sh\necho '${message}' >&2\nexit 1\n`, { mode: 0o755 })
      const prefix = ['env', `PATH=${programs}:${process.env.PATH}`]
      assert.deepEqual(await cleanupIptables(new IptablesPrograms(prefix)), [])
    }
  } finally {
    rmSync(programs, { recursive: true, force: true })
  }
})
