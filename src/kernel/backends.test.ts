import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import type { KernelBackend } from './backend.ts'
import { backendOf, proxyModes } from './backends.ts'
import { findLeftovers, switchAllOff, takeOver } from './takeover.ts'
import { empty } from './testing/empty/backend.ts'

describe('the backends', () => {
  test('are found by the names that --proxy-mode takes', () => {
    for (const mode of proxyModes) assert.equal(backendOf(mode).name, mode)
  })

  test('are asked what they can do: no other code asks for their names', () => {
    const names = proxyModes.join('|')
    // A whole literal or a key; sentences for people may name them.
    const uses = new RegExp(`(['"\`])(${names})\\1|^\\s*(${names})\\??:`)
    const own = new RegExp(`^src/kernel/(${names})/|^src/kernel/backends\\.ts$|\\.test\\.ts$|/testing/|^src/envoy/api/`)
    const files = globSync('src/**/*.ts').filter(file => !own.test(file))
    assert.ok(files.length > 100)
    assert.deepEqual(files.flatMap(usesIn(uses)), [])
  })
})

describe('what another backend left', () => {
  const steps: string[] = []
  const of = (name: string, isOn: boolean): KernelBackend => ({
    ...empty,
    name,
    find: async () => [`rules of ${name}`],
    cleanup: async () => [`rules of ${name}`],
    overlaySwitch: {
      missing: '',
      families: async () => ['ip'],
      read: async () => isOn,
      set: async (families, on) => void steps.push(`${name} of ${families.join(' and ')} is ${on ? 'on' : 'off'}`),
    },
  })
  const [own, on, off] = [of('own', true), of('on', true), of('off', false)]
  const among = [own, on, off, empty]

  test('is found and removed, and an overlay that was switched off stays so', async () => {
    assert.deepEqual(await findLeftovers(own, among), ['rules of on', 'rules of off'])
    assert.deepEqual(await takeOver(own, ['ip', 'ip6'], among), ['rules of on', 'rules of off'])
    assert.deepEqual(steps.splice(0), ['own of ip and ip6 is off'])
  })

  test('is switched off with the rest of the node', async () => {
    await switchAllOff(among)
    assert.deepEqual(steps.splice(0), ['own of ip is off', 'on of ip is off', 'off of ip is off'])
  })
})

function usesIn(pattern: RegExp) {
  return (file: string) => {
    const code = readFileSync(file, 'utf8').replace(/\/\*[\s\S]*?\*\//g, comment => comment.replace(/[^\n]/g, ''))
    return code
      .split('\n')
      .flatMap((line, index) =>
        pattern.test(line.replace(/\s\/\/ .*/, '')) ? [`${file}:${index + 1}: ${line.trim()}`] : [],
      )
  }
}
