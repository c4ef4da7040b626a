/** What the demo plays on: two nodes with Envoy and the agent on each, pods, and a copy of the example manifests to edit. */

import { chmodSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { definitions } from '../commands/options.ts'
import { curl } from '../lab/clients.ts'
import * as commandLines from '../lab/command-lines.ts'
import { createNetwork, type LabNode, type Network, type Pod } from '../lab/network.ts'
import { type RunningPod, startPod } from '../lab/pods.ts'
import { type RunResult, run, runIn } from '../lab/processes.ts'
import { Supervised } from '../lab/supervisor.ts'
import { waitFor } from '../lab/wait.ts'
import { prepareSocketDirectory } from '../node/system/socketdirectory.ts'
import { hostsOf, podsOf, readManifests } from './examples.ts'

export interface StagedNode extends LabNode {
  readonly envoy: Supervised
  readonly agent: Supervised
  readonly files: commandLines.AgentFiles
}

export interface Stage {
  readonly network: Network
  readonly nodes: readonly StagedNode[]
  /** The pod on node1 that the demo looks from. */
  readonly client: Pod
  /** The endpoints, by name. */
  readonly pods: ReadonlyMap<string, RunningPod>
  /** The directory that the agents watch. */
  readonly manifests: string
  readonly hostsFile: string
  /** A script that runs a command inside a pod or node: `in client curl whoami.whoami.svc`. */
  readonly inScript: string
}

const examples = fileURLToPath(new URL('../../examples', import.meta.url))

/** Removed with its network: `stage.network.destroy()`, or the end of this process. */
export async function buildStage(): Promise<Stage> {
  if (process.getuid?.() !== 0) throw new Error('network namespaces need root: run the demo as root')
  const network = await createNetwork({ nodes: 2 })
  try {
    return await furnish(network)
  } catch (error) {
    await network.destroy()
    throw error
  }
}

async function furnish(network: Network): Promise<Stage> {
  const manifests = join(network.directory, 'manifests')
  cpSync(examples, manifests, { recursive: true, dereference: true })
  const objects = readManifests(manifests)
  const hostsFile = join(network.directory, 'hosts')
  writeFileSync(hostsFile, hostsOf(objects))
  const [client, ...pods] = await Promise.all([
    network.addPod('node1', 'client', { host: 2 }),
    ...podsOf(objects).map(plan => startPod(network, plan)),
  ])
  return {
    network,
    nodes: await Promise.all(network.nodes.map(node => startNode(network, node, manifests))),
    client,
    pods: new Map(pods.map(pod => [pod.name, pod])),
    manifests,
    hostsFile,
    inScript: writeInScript(network, hostsFile),
  }
}

/** Envoy and agent start in any order: each waits for the other. */
async function startNode(network: Network, node: LabNode, source: string): Promise<StagedNode> {
  const directory = join(network.directory, node.name)
  mkdirSync(directory)
  const files = { source, socket: join(directory, 'agent.sock'), envoySockets: join(directory, 'envoy') }
  prepareSocketDirectory(files.envoySockets, definitions.envoyUser.default)
  const bootstrapFile = join(directory, 'bootstrap.json')
  const [command, ...args] = commandLines.bootstrap(node.name, files, '--envoy-module', 'on')
  const bootstrap = await run(command, args)
  if (bootstrap.code !== 0) throw new Error(`lightpath bootstrap: ${bootstrap.stderr.trim()}`)
  writeFileSync(bootstrapFile, bootstrap.stdout)

  const supervise = ([command, ...args]: commandLines.CommandLine, logFile: string, env?: Record<string, string>) =>
    new Supervised(network.processes, { netns: node.netns, command, args, options: { logFile, env } })
  const agent = supervise(commandLines.agent(node.name, files), join(directory, 'agent.log'))
  const module = { ENVOY_DYNAMIC_MODULES_SEARCH_PATH: await commandLines.envoyModule() }
  const envoy = supervise(await commandLines.envoy(bootstrapFile), join(directory, 'envoy.log'), module)
  await Promise.all([agent.up(), envoy.up()])
  return { ...node, agent, envoy, files }
}

/** Resolves when a request from the client pod goes through Envoy. */
export async function overlayServes(stage: Stage, limitMs = 60_000): Promise<void> {
  const [node] = stage.nodes
  try {
    await waitFor('a request through Envoy', limitMs, async () => /X-Envoy-Attempt-Count/.test(await askWhoami(stage)))
  } catch (error) {
    const log = readFileSync(join(stage.network.directory, node!.name, 'agent.log'), 'utf8')
    throw new Error(`${(error as Error).message}; the end of the agent's log:\n${log.slice(-2000)}`)
  }
}

/** What the whoami Service answers, through its VIP. */
export function askWhoami(stage: Stage): Promise<string> {
  return askAt(stage, 'whoami.whoami.svc')
}

/** What a Service answers the client pod, by its name or VIP. */
export async function askAt({ client, hostsFile }: Stage, host: string): Promise<string> {
  return (await curl(client, [`http://${host}/`], { hostsFile })).stdout
}

/** Runs a command line of Lightpath on a node. Throws what it complains of when it fails. */
export async function onNode(node: StagedNode, [command, ...args]: commandLines.CommandLine): Promise<RunResult> {
  const result = await runIn(node.netns, command, args)
  if (result.code !== 0) throw new Error(`lightpath ${args.join(' ')}: ${result.stderr.trim() || 'no answer in 30 s'}`)
  return result
}

function writeInScript(network: Network, hostsFile: string): string {
  const script = join(network.directory, 'in')
  const lines = [
    '#!/bin/sh',
    '# Runs a command inside a pod or node of the lab: in NAME COMMAND [ARGUMENT]…',
    `netns=/run/netns/${network.name}-$1; shift`,
    `exec nsenter --net="$netns" unshare --mount --propagation=slave \\`,
    `  sh -c 'mount --bind ${hostsFile} /etc/hosts && exec "$@"' in "$@"`,
    '',
  ]
  writeFileSync(script, lines.join('\n'))
  chmodSync(script, 0o755)
  return script
}
