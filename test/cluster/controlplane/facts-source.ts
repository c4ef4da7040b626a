/** Where agents on a cluster have their facts from, by what they have logged: found without the API server, too. */

import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { eventually, type Nodes } from '../nodes.ts'

const namespace = 'lightpath-system'
const said =
  /^(\S+) .*(?:"controlPlane":"([^"]*)","msg":"facts come from the control plane"|facts come from the API server)/gm

/**
 * The node of the replica by which an agent reads, or 'API server'; undefined where the agent has not said it since then.
 * @param since in milliseconds since the epoch
 */
export async function sourceOf(cluster: Nodes, node: number, since = 0): Promise<number | 'API server' | undefined> {
  const directory = join(cluster.directory, `node${node}/pod-logs`)
  const pods = (await readdir(directory)).filter(name => name.startsWith(`${namespace}_lightpath-node-`))
  const logs = await Promise.all(pods.map(async pod => logsBelow(join(directory, pod, 'node'))))
  const [last] = [...logs.flat().join('').matchAll(said)]
    .map(([, at, address]) => ({ at: Date.parse(at!), address }))
    .sort((a, b) => b.at - a.at)
  if (!last || last.at < since) return undefined
  // A node's pods have its number in their addresses.
  return last.address === undefined ? 'API server' : Number(last.address.split('.')[2])
}

async function logsBelow(directory: string): Promise<readonly string[]> {
  const files = await readdir(directory)
  return await Promise.all(files.map(file => readFile(join(directory, file), 'utf8')))
}

/** Waits until agents read by replicas that are near enough. */
export async function untilNear(
  cluster: Nodes,
  nodes: readonly number[],
  isNear: (node: number, replica: number) => boolean,
): Promise<void> {
  await eventually(180, async () => {
    for (const node of nodes) {
      const source = await sourceOf(cluster, node)
      const found = `node${node} has its facts from ${source}`
      assert.ok(typeof source === 'number', found)
      // It came before those of its own zone, and would stay for an hour.
      if (!isNear(node, source)) await replaceAgent(cluster, node)
      assert.ok(isNear(node, source), found)
    }
  })
}

async function replaceAgent(cluster: Nodes, node: number): Promise<void> {
  const own = ['-l', 'app.kubernetes.io/component=node', '--field-selector', `spec.nodeName=node${node}`]
  await cluster.kubectl('-n', namespace, 'delete', 'pods', ...own)
  await cluster.kubectl('-n', namespace, 'rollout', 'status', 'daemonset/lightpath-node', '--timeout', '120s')
}
