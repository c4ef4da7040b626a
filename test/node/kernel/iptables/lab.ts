/**
 * A network of two nodes whose first has the kernel layer by iptables, of one of its two variants, and Services for it.
 */

import { existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { IptablesLayer } from '../../../../src/kernel/iptables/layer.ts'
import type { Flush } from '../../../../src/kernel/layer.ts'
import type { KernelOptions } from '../../../../src/kernel/options.ts'
import { portState } from '../../../../src/kernel/testing/states.ts'
import type { Pod } from '../../../../src/lab/network.ts'
import type { PortState } from '../../../../src/plan/ports/port.ts'
import type { Problem } from '../../../../src/services/problem.ts'
import { KernelLab, needsRoot } from '../lab.ts'

export const skip = needsRoot.skip || (!existsSync('/usr/sbin/ipset') && 'needs ipset (Debian: ipset)')

const udp = { port: { name: 'dns', protocol: 'UDP', port: 53 } } as const

export const at = (pods: readonly Pod[], address: 'ip' | 'ip6', port: string) =>
  pods.map(pod => `${pod[address]}${port}@${pod.node}`)
export const web = (...pods: Pod[]) => portState('a/web/http', '10.96.0.1', at(pods, 'ip', ':8080'))
export const web6 = (...pods: Pod[]) => portState('a/web/http/IPv6', 'fd00:96::1', at(pods, 'ip6', ' 8080'))
export const dns = (...pods: Pod[]) => portState('a/dns/dns', '10.96.0.2', at(pods, 'ip', ':5353'), udp)
const dns6 = (...pods: Pod[]) => portState('a/dns/dns/IPv6', 'fd00:96::2', at(pods, 'ip6', ' 5353'), udp)

export class IptablesLab {
  readonly kernel: KernelLab
  /** Serve, one on each node. */
  readonly near: Pod
  readonly far: Pod
  /** On the first node. */
  readonly client: Pod
  readonly flushes: Flush[] = []
  readonly problems = new Map<string, readonly Problem[]>()
  /** The layer that runs, or ran last. */
  layer: IptablesLayer
  /** The directory with the variant's programs. */
  readonly #programs: string

  private constructor(kernel: KernelLab, programs: string, near: Pod, far: Pod, client: Pod) {
    this.kernel = kernel
    this.#programs = programs
    this.near = near
    this.far = far
    this.client = client
    this.layer = this.#create()
  }

  /** The layer is started, and has written all Services. */
  static async build(variant: 'nft' | 'legacy'): Promise<IptablesLab> {
    const programs = mkdtempSync(join(tmpdir(), 'lightpath-iptables-'))
    for (const name of ['iptables', 'ip6tables']) {
      for (const program of ['', '-save', '-restore']) {
        symlinkSync(`/usr/sbin/xtables-${variant}-multi`, join(programs, `${name}${program}`))
      }
    }
    const kernel = await KernelLab.create()
    try {
      const near = await kernel.addServer('node1', 'near')
      const far = await kernel.addServer('node2', 'far')
      const client = await kernel.network.addPod('node1', 'client')
      const lab = new IptablesLab(kernel, programs, near, far, client)
      await lab.layer.start()
      await lab.synced(lab.all())
      return lab
    } catch (error) {
      await kernel.destroy()
      rmSync(programs, { recursive: true, force: true })
      throw error
    }
  }

  async destroy(): Promise<void> {
    await this.layer.close()
    await this.kernel.destroy()
    rmSync(this.#programs, { recursive: true, force: true })
  }

  all(): readonly PortState[] {
    const { near, far } = this
    return [web(near, far), web6(near, far), dns(far), dns6(far)]
  }

  /** Words before each command: in the node's network, with these programs of iptables. */
  get prefix(): readonly string[] {
    return [...this.kernel.options.prefix!, 'env', this.#path]
  }

  get #path(): string {
    return `PATH=${this.#programs}:${process.env.PATH}`
  }

  #create(more: Partial<KernelOptions> = {}): IptablesLayer {
    const { flushes, problems } = this
    return new IptablesLayer(
      { ...this.kernel.options, ...more, prefix: this.prefix },
      {
        flushed: flush => void flushes.push(flush),
        problems: (origin, found) => void (found.length > 0 ? problems.set(origin, found) : problems.delete(origin)),
      },
    )
  }

  /** A run of the agent. */
  async run(more: Partial<KernelOptions> = {}): Promise<void> {
    this.layer = this.#create(more)
    await this.layer.start()
  }

  /** These are all Services. */
  async synced(states: readonly PortState[]): Promise<void> {
    for (const state of states) this.layer.setPort(state)
    this.layer.synced()
    await this.layer.settled()
  }

  async set(...states: readonly PortState[]): Promise<void> {
    for (const state of states) this.layer.setPort(state)
    await this.layer.settled()
  }

  onNode(command: string, ...args: readonly string[]): Promise<string> {
    return this.kernel.onNode('env', this.#path, command, ...args)
  }

  /** All rules and sets, but for what changes by itself. */
  async saved(): Promise<string> {
    const tables = await Promise.all([this.onNode('iptables-save'), this.onNode('ip6tables-save')])
    return `${tables.join('')}${await this.onNode('ipset', 'save')}`.replaceAll(
      /^#.*\n|\[\d+:\d+\]| initval \S+| timeout \d+/gm,
      '',
    )
  }
}
