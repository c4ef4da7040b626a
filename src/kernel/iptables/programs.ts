/** The programs of iptables and ipset. Each call writes all there is to write at once. Rejections are CommandErrors. */

import type { Family } from '../family.ts'
import { CommandError, type CommandPrefix, runCommand } from '../system/command.ts'
import { type SavedRules, savedMember, savedRulesReader, savedTimeout, type TimedMember } from './saved.ts'

export const programNames = { ip: 'iptables', ip6: 'ip6tables' } as const

export class IptablesPrograms {
  readonly #prefix: CommandPrefix

  constructor(prefix: CommandPrefix = []) {
    this.#prefix = prefix
  }

  /** Each table of the text applies as a whole or not at all. Chains that it does not name stay. */
  async restore(family: Family, text: string): Promise<void> {
    if (text === '') return
    // The lock is for those that change rules at the same time, such as kube-proxy.
    const command = [`${programNames[family]}-restore`, '--noflush', '--wait', '5']
    await runCommand(command, { prefix: this.#prefix, input: text })
  }

  /** Rejects where `restore` would, and changes nothing. */
  async test(family: Family, text: string): Promise<void> {
    await runCommand([`${programNames[family]}-restore`, '--noflush', '--test'], { prefix: this.#prefix, input: text })
  }

  async save(family: Family): Promise<SavedRules> {
    const { line, saved } = savedRulesReader()
    await runCommand([`${programNames[family]}-save`], { prefix: this.#prefix, onLine: line })
    return saved
  }

  /** Applies line by line; to add what exists or delete what is gone is no error. */
  async restoreSets(text: string): Promise<void> {
    if (text !== '') await runCommand(['ipset', '-exist', 'restore'], { prefix: this.#prefix, input: text })
  }

  /** Reads the members of our sets, as `lightpath-envoy4 10.96.0.1,tcp:80`. */
  async saveMembers(): Promise<ReadonlySet<string>> {
    const members = new Set<string>()
    const onLine = (line: string) => {
      const member = savedMember(line)
      if (member !== undefined) members.add(member)
    }
    await runCommand(['ipset', 'save'], { prefix: this.#prefix, onLine })
    return members
  }

  /** Reads the members of one of our sets that time out. */
  async timeouts(set: string): Promise<readonly TimedMember[]> {
    const members: TimedMember[] = []
    const onLine = (line: string) => {
      const member = savedTimeout(line)
      if (member) members.push(member)
    }
    await runCommand(['ipset', 'save', set], { prefix: this.#prefix, onLine })
    return members
  }

  /** The names of our sets; none where there is no ipset, among the programs or in the kernel. */
  async sets(): Promise<readonly string[]> {
    const names: string[] = []
    const onLine = (line: string) => void (line.startsWith('lightpath-') && names.push(line))
    await unlessMissing(runCommand(['ipset', 'list', '-name'], { prefix: this.#prefix, onLine }))
    return names
  }

  /** Reads as `save`; undefined where there is no iptables. */
  async saveIfThere(family: Family): Promise<SavedRules | undefined> {
    return unlessMissing(this.save(family))
  }
}

/** What different versions of ipset say where the kernel has no ip_set. */
const notInKernel = /Cannot open session to kernel|Invalid argument/

async function unlessMissing<T>(attempt: Promise<T>): Promise<T | undefined> {
  try {
    return await attempt
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    if (error.failure === 'missing' || notInKernel.test(error.message)) return undefined
    throw error
  }
}
