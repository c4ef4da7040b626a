/** Servers and clients of gRPC in pods: one program in Go (main.go), and grpc-js (client.ts). */

import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { Pod } from '../../../src/lab/network.ts'
import type { Child } from '../../../src/lab/processes.ts'
import { type AgentLab, skip as skipsLab } from '../agent/lab.ts'

const nodeClient = fileURLToPath(new URL('./client.ts', import.meta.url))

const build = spawnSync(fileURLToPath(new URL('../../../tools/grpc', import.meta.url)), { encoding: 'utf8' })

/** Why there can be no such lab; false where there can. */
export const skip = skipsLab || (build.status === 0 ? false : build.stderr.trim())

/** What a client has seen: answers by what they say, failed calls by their status. */
export interface Report {
  readonly Shares: Readonly<Record<string, number>>
  readonly Errors: Readonly<Record<string, number>>
}

export interface Calls {
  /** SIGTERM, and the report. */
  stop(): Promise<Report>
  readonly report: Promise<Report>
}

export class GrpcLab {
  readonly lab: AgentLab
  readonly #program = build.stdout.trim()
  readonly #servers = new Map<string, Child>()

  constructor(lab: AgentLab) {
    this.lab = lab
  }

  /** Pods that serve gRPC at 8080, and gRPC and HTTP/1.1 at 8081. */
  pods(count: number, firstHost: number): Promise<Pod[]> {
    const hosts = Array.from({ length: count }, (_, index) => firstHost + index)
    return Promise.all(
      hosts.map(async host => {
        const pod = await this.lab.network.addPod('node1', `grpc-${host}`, { host })
        await this.serve(pod)
        return pod
      }),
    )
  }

  async serve(pod: Pod): Promise<void> {
    const server = await this.#spawn(pod, 'serve', `${pod.ip}:8080`, pod.name)
    await once(server.stdout!, 'data')
    this.#servers.set(pod.name, server)
  }

  /** @param signal SIGTERM ends the server once its calls are done, SIGKILL at once */
  async end({ name }: Pod, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const server = this.#servers.get(name)!
    server.kill(signal)
    await server.exited
  }

  /** Starts the client in Go: `unary`, `streams` or `hold` with its flags. Resolves when it has had an answer. */
  async start(from: Pod, command: string, address: string, ...flags: readonly string[]): Promise<Calls> {
    const client = await this.#spawn(from, command, address, ...flags)
    await Promise.race([once(client.stdout!, 'readable'), client.exited])
    return calls(client)
  }

  async go(from: Pod, command: string, address: string, ...flags: readonly string[]): Promise<Report> {
    return (await this.start(from, command, address, ...flags)).report
  }

  async node(from: Pod, command: 'unary' | 'streams' | 'idle', address: string, count: number): Promise<Report> {
    const words = [nodeClient, command, address, `${count}`]
    return calls(await this.lab.network.processes.spawnIn(from.netns, process.execPath, words, this.#options())).report
  }

  #spawn(pod: Pod, ...words: readonly string[]): Promise<Child> {
    return this.lab.network.processes.spawnIn(pod.netns, this.#program, words, this.#options())
  }

  #options() {
    return { logFile: `${this.lab.network.directory}/grpc.log`, pipeStdout: true }
  }
}

function calls(child: Child): Calls {
  const report = text(child.stdout!).then(json => JSON.parse(json) as Report)
  report.catch(() => undefined)
  const stop = () => {
    child.kill('SIGTERM')
    return report
  }
  return { report, stop }
}
